"""The scripts of lua/bundle.json: what each is sent, and what it answers."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from . import errors
from .record import Layout, LeaseLayout

#: Texts and integers as they are, bytes as they are; `None` for what is not given.
Values = Mapping[str, "str | int | bytes | None"]
Command = list["str | bytes | int"]

_TAG = "{ns:p}"
_NAMES = re.compile("<([^>]+)>")


@dataclass(frozen=True)
class Reply:
    """What a script answered."""

    word: str
    fields: dict[str, Any]
    #: What repeats at the end: for each kind of it, as the bundle lists them, its occurrences.
    rest: list[list[tuple[Any, ...]]]
    #: Of a `need`.
    kind: str = ""

    def one_of(self, *words: str) -> Reply:
        """This reply, if it has one of these words, or else the error that it stands for."""
        if self.word not in words:
            raise errors.of_reply(self.word, self.fields)
        return self

    def ok(self) -> Reply:
        """This reply, if it is `ok`."""
        return self.one_of("ok")


class Script:
    """One operation."""

    def __init__(self, stem: str, spec: dict[str, Any], layout: Layout, unnamed: str, unnamed_events: str) -> None:
        self.stem = stem
        self.sha1: str = spec["sha1"]
        self.source: str = spec["source"]
        self.effect: str = spec["effect"]
        self.follows_moved: bool = spec.get("moved") == "follow"
        self.needs: dict[str, dict[str, Any]] = {need["kind"]: need for need in spec["needs"]}
        self._replies: dict[str, dict[str, Any]] = {reply["word"]: reply for reply in spec["replies"]}
        self._keys = [key["pattern"] for key in spec["keys"]]
        self._arguments = spec["arguments"]
        #: Whether it asks for a time from before the call began.
        self.takes_bound = any(argument["name"] == "bound_ms" for argument in self._arguments)
        self._group = spec.get("group", {"keys": [], "arguments": []})
        self._layout = layout
        self._unnamed = unnamed
        self._events: dict[str, Any] | None = spec.get("events")
        self._unnamed_events = unnamed_events

    def command(self, tag: str, values: Values, members: Iterable[Values] = ()) -> Command:
        """The EVALSHA of this script; `members` are those of its group. With `events` it asks for them: of so many a
        stream keeps, behind all else, with the streams of the partition and of each node."""
        members = list(members)
        keys = [self._key(pattern, tag, values, self._unnamed) for pattern in self._keys]
        arguments = [_argument(argument, values) for argument in self._arguments]
        for member in members:
            keys += [self._key(key["pattern"], tag, member, self._unnamed) for key in self._group["keys"]]
            arguments += [_argument(argument, member) for argument in self._group["arguments"]]
        if (keep := values.get("events")) and self._events:
            streams = [(key, values) for key in self._events["keys"]]
            streams += [(key, member) for member in members for key in self._events.get("of_member", ())]
            keys += [self._key(key["pattern"], tag, names, self._unnamed_events) for key, names in streams]
            arguments.append(keep)
        return ["EVALSHA", self.sha1, len(keys), *map(stored, keys), *map(stored, arguments)]

    @staticmethod
    def _key(pattern: str, tag: str, values: Values, unnamed: str) -> str:
        """A key as it is sent: there is none of an empty name, and another keeps its position: the record of the
        session, or the stream of the partition."""
        is_named = all(any(map(values.get, names.split("|"))) for names in _NAMES.findall(pattern))
        return name_key(pattern if is_named else unnamed, tag, values)

    def read(self, raw: Any) -> Reply:
        """A reply, by the fields that the bundle says it has."""
        try:
            items = deque(raw)
            word = self._value("word", items)
            kind = self._value("kind", items) if word == "need" else ""
            shape = self.needs[kind] if word == "need" else self._replies[word]
            fields = self._fields(shape, items)
            return Reply(word, fields, self._rest(shape, fields, items), kind)
        except (TypeError, KeyError, IndexError, UnicodeDecodeError):
            raise errors.Corrupt("reply, not of this contract") from None

    def _fields(self, shape: dict[str, Any], items: deque[Any]) -> dict[str, Any]:
        fields = {field["name"]: self._value(field["type"], items) for field in shape["fields"]}
        for field in shape.get("optional", ()):
            if items:
                fields[field["name"]] = self._value(field["type"], items)
        return fields

    def _rest(self, shape: dict[str, Any], fields: dict[str, Any], items: deque[Any]) -> list[list[tuple[Any, ...]]]:
        rest = []
        for repeated in shape.get("rest", ()):
            types = [field["type"] for field in repeated["fields"]]
            times = fields[repeated["times"]] if "times" in repeated else len(items) // len(types)
            rest.append([tuple(self._value(type, items) for type in types) for _ in range(times)])
        if items:
            raise IndexError("more than the contract has")
        return rest

    def _value(self, type: str, items: deque[Any]) -> Any:
        value = items.popleft()
        if type == "record":
            return self._layout.decode(value)
        return found(value) if isinstance(value, bytes) else value


def found(raw: bytes) -> str:
    """What a server has as an id or name. It need be no text: `is_text` tells, and `stored` gives it back as it was."""
    return raw.decode("utf-8", "surrogateescape")


def stored(value: str | bytes | int) -> str | bytes | int:
    """A text that a server may have, as it has it."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def is_text(value: str) -> bool:
    """Whether what was found can be told."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Start:
    """The script by which a store proves that its user may run all that the others run."""

    #: Patterns without names: one key of each kind.
    keys: list[str]
    commands: list[str]
    sha1: str
    source: str

    def command(self, tag: str) -> Command:
        """The EVALSHA of this script."""
        keys = [name_key(pattern, tag, {}) for pattern in self.keys]
        return ["EVALSHA", self.sha1, len(keys), *keys, *self.commands]


class Bundle:
    """All scripts, the layout of records and the names of keys."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.contract: int = spec["contract"]
        #: The contracts that may be noted in a namespace in which a store starts.
        self.accepts: list[int] = spec["accepts"]
        others = [Layout(other["record"], other["record_format"]) for other in spec["other_records"]]
        self.layout = Layout(spec["record"], spec["record_format"], others)
        self.lease = LeaseLayout(spec["lease"])
        self.scripts = {
            stem: Script(stem, operation, self.layout, spec["unnamed"], spec["unnamed_events"])
            for stem, operation in spec["operations"].items()
        }
        self.start = Start(**spec["start"])
        #: Codes of errors that say that a script has not written.
        self.nothing_written = frozenset(spec["nothing_written"])
        self._keys = spec["keys"]

    def key(self, name: str, tag: str, **values: str) -> str:
        """A key by its name."""
        return name_key(self._keys[name]["pattern"], tag, values)


def name_key(pattern: str, tag: str, values: Values) -> str:
    """A key from its pattern: of names with `|` between them the first that is not empty counts."""

    def value(match: re.Match[str]) -> str:
        return next((str(values[name]) for name in match[1].split("|") if values.get(name)), "")

    return tag + _NAMES.sub(value, pattern.removeprefix(_TAG))


def _argument(spec: dict[str, Any], values: Values) -> str | bytes | int:
    value = values.get(spec["name"])
    if value is None:
        value = spec.get("default", "" if spec["empty"] else None)
    if value is None:
        raise TypeError(f"the argument {spec['name']} is not given")
    return value


def load() -> Bundle:
    """The bundle of this package."""
    return Bundle(json.loads(files(__package__).joinpath("bundle.json").read_text(encoding="utf-8")))
