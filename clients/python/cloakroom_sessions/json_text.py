"""The JSON text of a value, as it is stored."""

from __future__ import annotations

import json
from typing import Any

from .errors import Invalid

#: How deep a value may be nested at most: readers in other languages refuse what is deeper.
_DEEPEST = 127


def to_json(field: str, key: str, value: Any) -> str:
    """The JSON text of the value of a key. What another language could not read, or would read as something else, is
    `Invalid`: it names the map that the value is for."""
    _check(field, key, value, _DEEPEST)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(field, f"has a text under {key!r} that has no form in UTF-8") from None
    except (TypeError, ValueError, RecursionError):
        raise Invalid(field, f"has a value under {key!r} that cannot be told in JSON") from None
    return text


def _check(field: str, key: str, value: Any, levels: int) -> None:
    """What `json` would write without a word: keys that are no texts. And how deep it goes, of a circle too."""
    if not isinstance(value, (dict, list, tuple)):
        return
    if levels == 0:
        raise Invalid(field, f"has a value under {key!r} that is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise Invalid(field, f"has a value under {key!r} with a key that is no text")
        value = value.values()
    for item in value:
        _check(field, key, item, levels - 1)
