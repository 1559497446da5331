"""What a key holds, as cases write it, in the bytes that the bundle's layouts have."""

from __future__ import annotations

from typing import Any

HOUR_MS = 3_600_000


class Layout:
    """How records and entries are laid out."""

    def __init__(self, spec: dict[str, Any], record_format: int) -> None:
        self._spec, self._format = spec, record_format

    def record(self, given: dict[str, Any]) -> bytes:
        """A record. What is not given is as in a session that was just created, at its `created_at`."""
        made = given.get("created_at", 0)
        ttl = given.get("ttl", HOUR_MS)
        expires = given.get("expires_at", made + ttl)
        entries = given.get("entries", [])
        fields = {
            "status": "active", "user": "", "connection": "", "node": "", "version": 1, "created_at": made,
            "changed_at": made, "gap": 65535, "second_gap": 65535, "third_gap": 65535, "ttl": ttl, "deadline": 0,
            "last_active": made, "expires_at": expires, "stored_until": expires + HOUR_MS, "listed": len(entries),
            "compacted": len(self.entries(entries)), "operations": ["00" * 8] * 4,
        } | given  # fmt: skip
        body = self._body(fields)
        texts = {name: fields[name].encode() for name in self._spec["texts"][:-1]} | {self._spec["texts"][-1]: body}
        numbers = {f"{name}_size": len(text) for name, text in texts.items()} | {
            "format": self._format,
            "kind": self._spec["kinds"][fields["kind"]],
            "status": self._spec["statuses"][fields["status"]],
            "op_ids": "".join(fields["operations"]),
        }
        header = b"".join(_field(spec, (fields | numbers)[spec["name"]]) for spec in self._spec["header"])
        return header + b"".join(texts.values())

    def header(self, raw: bytes) -> dict[str, int | str] | None:
        """The fixed fields of a record but for its operation ids, and what stands behind them; `None`: it is none."""
        size = self._spec["header_bytes"]
        if len(raw) < size or raw[0] != self._format:
            return None
        fields = [field for field in self._spec["header"] if field["name"] != "op_ids"]
        told = {field["name"]: int.from_bytes(raw[field["offset"] :][: field["bytes"]], "big") for field in fields}
        return told | {"behind": raw[size:].hex()}

    def _body(self, fields: dict[str, Any]) -> bytes:
        if fields["kind"] == "live":
            body = self.entries(fields.get("entries", []))
        elif fields["kind"] == "departed":
            body = bytes.fromhex(fields["task"]) + fields["place"].encode()
        else:
            body = fields.get("new_id", "").encode()
        return self._frozen(fields["freeze"]) + body if "freeze" in fields else body

    def _frozen(self, freeze: dict[str, Any]) -> bytes:
        spec = self._spec["freeze"]
        texts = [freeze[name].encode() for name in spec["texts"]]
        numbers = {f"{name}_size": len(text) for name, text in zip(spec["texts"], texts, strict=True)} | {
            "status": self._spec["statuses"][freeze["status"]],
            "direction": spec["directions"][freeze["direction"]],
        }
        return b"".join(_field(each, (freeze | numbers)[each["name"]]) for each in spec["header"]) + b"".join(texts)

    def entries(self, entries: list[dict[str, str]]) -> bytes:
        """Entries, or changes of them."""
        spec = self._spec["entry"]
        pieces = []
        for entry in entries:
            key, value = entry["key"].encode(), entry["json"].encode()
            numbers = {"kind": spec["kinds"][entry["kind"]], "key_size": len(key), "value_size": len(value)}
            pieces += [*(_field(each, numbers[each["name"]]) for each in spec["header"]), key, value]
        return b"".join(pieces)

    def read_entries(self, raw: bytes) -> list[dict[str, str]]:
        """The same the other way round."""
        spec = self._spec["entry"]
        kinds = {number: word for word, number in spec["kinds"].items()}
        found, at = [], 0
        while at < len(raw):
            start = at + spec["header_bytes"]
            numbers = {
                each["name"]: int.from_bytes(raw[at + each["offset"] :][: each["bytes"]], "big")
                for each in spec["header"]
            }
            middle = start + numbers["key_size"]
            at = middle + numbers["value_size"]
            kind = kinds.get(numbers["kind"], str(numbers["kind"]))
            key, json = raw[start:middle].decode(errors="replace"), raw[middle:at].decode(errors="replace")
            found.append({"kind": kind, "key": key, "json": json})
        return found


def _field(spec: dict[str, Any], value: Any) -> bytes:
    return bytes.fromhex(value) if spec["type"] == "bytes" else value.to_bytes(spec["bytes"], "big")
