"""The attributes of a session, or its extensions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Literal

from .arguments import check_integer, check_mapping, check_text, each_of, text_size
from .errors import Invalid, TooLarge
from .json_text import to_json
from .record import Entry, Layout
from .rules import Rules

Field = Literal["attributes", "extensions"]
_KINDS = {"attributes": "attribute", "extensions": "extension"}


class Entries(MutableMapping[str, Any]):
    """A map from text keys to JSON values.

    The texts are kept: what another language wrote, and nobody changed here, is saved as it was. A value that was
    changed in its place (`entries["cart"].append(3)`) is saved as it is now.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, *, field: Field = "attributes") -> None:
        self._field = field
        self._texts: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        if values is not None:
            check_mapping(field, values)
            self.update(values)

    @classmethod
    def _of_texts(cls, texts: Mapping[str, str], field: Field) -> Entries:
        """From JSON texts."""
        entries = cls(field=field)
        entries._texts = dict(texts)
        return entries

    @classmethod
    def _of_any(cls, values: Mapping[str, Any], field: Field) -> Entries:
        """Those of a session in hand, on which somebody may have set another mapping."""
        if isinstance(values, Entries) and values._field == field:
            return values
        check_mapping(field, values)
        return cls(values, field=field)

    def json(self, key: str) -> str:
        """The JSON text of a value."""
        text = self._texts[key]
        if key in self._values:
            new_text = self._text_in_place(key, self._values[key])
            if new_text != json.dumps(json.loads(text)):
                text = self._texts[key] = to_json(self._field, key, self._values[key])
        return text

    def _text_in_place(self, key: str, value: Any) -> str:
        """What tells whether a value was changed in its place; what was not may be too large a number for Python."""
        try:
            return json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            return to_json(self._field, key, value)

    def _set_text(self, key: str, text: str) -> None:
        """Sets a value by its JSON text, and removes it where that is empty."""
        self._values.pop(key, None)
        if text:
            self._texts[key] = text
        else:
            self._texts.pop(key, None)

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            self._values[key] = json.loads(self._texts[key])
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        _check_key(self._field, key)
        self._set_text(key, to_json(self._field, key, value))

    def __delitem__(self, key: str) -> None:
        del self._texts[key]
        self._values.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        """The keys only: the values may be secret."""
        return f"Entries({sorted(self._texts)})"


def encode_all(layout: Layout, rules: Rules, *maps: Entries) -> bytes:
    """All entries of a session, as a script takes them."""
    entries = [_entry(rules, map._field, map._field, key, map.json(key)) for map in maps for key in sorted(map)]
    encoded = layout.encode_entries(entries)
    if len(encoded) > rules.session_bytes or len(entries) > rules.session_entries:
        raise TooLarge(len(encoded), len(entries))
    return encoded


def changes_of(
    rules: Rules,
    set: Mapping[str, Any] | None,
    remove: Iterable[str],
    set_extensions: Mapping[str, Any] | None,
    remove_extensions: Iterable[str],
) -> list[Entry]:
    """Changes of entries, as a caller gives them: an empty text removes."""
    changes = []
    lists: list[tuple[Field, str, Mapping[str, Any] | None, str, Iterable[str]]] = [
        ("attributes", "set", set, "remove", remove),
        ("extensions", "set_extensions", set_extensions, "remove_extensions", remove_extensions),
    ]
    for field, setting, values, removing, keys in lists:
        if values is not None:
            check_mapping(setting, values)
            for key, value in values.items():
                _check_key(setting, key)
                changes.append(_entry(rules, setting, field, key, to_json(setting, key, value)))
        changes += [_entry(rules, removing, field, key, "") for key in each_of(removing, keys)]
    check_integer("changes", len(changes), 0, rules.session_entries)
    return changes


def _entry(rules: Rules, argument: str, field: str, key: str, text: str) -> Entry:
    """An entry within the limits."""
    _check_key(argument, key)
    size = text_size(argument, text)
    if size > rules.value_bytes:
        raise Invalid(argument, f"has a value of {size} bytes under {key!r}, of at most {rules.value_bytes}")
    return Entry(_KINDS[field], key, text)


def _check_key(argument: str, key: str) -> None:
    if not isinstance(key, str):
        raise Invalid(argument, "has a key that is no text")
    try:
        check_text("key", key, 1, 255)
    except Invalid as error:
        raise Invalid(argument, f"has a key that {error.problem}") from None
