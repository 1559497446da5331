"""What a caller gives, within its limits: whatever is not is `Invalid`, and names the argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import Invalid
from .token import PREFIX

#: The largest integer that all languages have.
LARGEST = 2**53


def check_integer(field: str, value: int, least: int, most: int) -> None:
    """An integer within its limits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(field, f"must be an integer of {least} to {most}")
    if not least <= value <= most:
        raise Invalid(field, f"is {_shown(value)}, must be {least} to {most}")


def check_instant(field: str, value: int) -> None:
    """Milliseconds since the epoch, and other counts that all languages have."""
    check_integer(field, value, 0, LARGEST)


def check_text(field: str, text: str, least: int, most: int) -> None:
    """A text whose bytes are within their limits."""
    size = text_size(field, text)
    if not least <= size <= most:
        raise Invalid(field, f"is {size} bytes, must be {least} to {most}")


def text_size(field: str, text: str) -> int:
    """How many bytes a text is."""
    if not isinstance(text, str):
        raise Invalid(field, "must be a text")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(field, "has no form in UTF-8") from None


def check_id(id: str, field: str = "id") -> None:
    """A session id."""
    check_text(field, id, 1, 128)
    if id.startswith(PREFIX):
        raise Invalid(field, "is a token: read it with Token.parse")


def check_names(**names: str) -> None:
    """Users, connections, nodes and places; empty means none."""
    for field, name in names.items():
        check_text(field, name, 0, 256)


def check_required(**names: str) -> None:
    """The same, where empty would mean none."""
    for field, name in names.items():
        check_text(field, name, 1, 256)


def check_word(field: str, value: str, *words: str) -> None:
    """One of some words."""
    if not isinstance(value, str) or value not in words:
        raise Invalid(field, f"must be one of {', '.join(words)}")


def check_flag(field: str, value: bool) -> None:
    """True or False, and nothing that is taken for one of them."""
    if not isinstance(value, bool):
        raise Invalid(field, "must be True or False")


def check_kind(field: str, value: object, kind: type) -> None:
    """Something of a class of this package."""
    if not isinstance(value, kind):
        raise Invalid(field, f"must be of the class {kind.__name__}")


def check_bytes(field: str, value: bytes, size: int) -> None:
    """So many bytes, not all zero: those stand for none in what is stored."""
    if not isinstance(value, bytes) or len(value) != size or value == bytes(size):
        raise Invalid(field, f"must be {size} bytes, not all zero")


def each_of(field: str, values: Iterable[Any]) -> Iterator[Any]:
    """What is in a list, or in anything like one. A text is none, though it has characters."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise Invalid(field, "must be a list")
    return iter(values)


def check_mapping(field: str, values: Mapping[str, Any]) -> None:
    """A mapping from texts."""
    if not isinstance(values, Mapping):
        raise Invalid(field, "must be a mapping")


def _shown(number: int) -> str:
    """A number in a message, whatever its length."""
    return str(number) if abs(number) < 10**20 else "a number of more than 20 digits"
