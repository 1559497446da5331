"""One exchange of a scenario: what is asked, and what comes of it."""

from __future__ import annotations

from typing import Any

from .bundle import Call


class Round:
    """One of a scenario's rounds."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        #: What the script answers, where it runs at all.
        self.executed: list[Any] | None = given.get("reply", given.get("lost"))
        #: Whether the connection breaks in the place of a reply.
        self.is_cut = "lost" in given or given.get("cut", False)
        self.error: str = given.get("error", "")
        self.forgets_scripts = self.error.startswith("NOSCRIPT")
        #: What keys hold from then on.
        self.then: dict[str, Any] = given.get("then", {})
        self.may_be_left_out: bool = given.get("optional", False)
        #: How often it may come yet, if that is bounded.
        self._left: int | None = given.get("at_most")

    def __str__(self) -> str:
        asked = {name: self._given[name] for name in ("with", "members", "key") if name in self._given}
        return f"{self._given.get('script') or self._given['command']} {asked}"

    def comes_too_often(self) -> bool:
        """Notes that it has come, and tells whether it may not any more."""
        if self._left is None:
            return False
        self._left -= 1
        return self._left < 0

    def is_of_command(self, name: str, key: str) -> bool:
        """Whether it is this command that is no script."""
        return bool(self._given.get("command") == name and self._given["key"] == key)

    def mismatch(self, call: Call) -> str:
        """Why a call is not the one that is expected; empty if it is."""
        if self._given.get("script") != call.stem:
            return f"{self} was expected"
        for name, expected in self._given.get("with", {}).items():
            if not _matches(expected, call.arguments.get(name)):
                return f"its {name} should be {expected!r}"
        members = self._given.get("members")
        if members is None:
            return ""
        if len(members) != len(call.members):
            return f"it should have {len(members)} members"
        for expected, member in zip(members, call.members, strict=True):
            for name, value in expected.items():
                if not _matches(value, member.get(name)):
                    return f"the {name} of a member should be {value!r}"
        return ""


def _matches(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict):
        is_number = isinstance(found, int)
        at_least = "at_least" not in expected or (is_number and found >= expected["at_least"])
        return at_least and ("at_most" not in expected or (is_number and found <= expected["at_most"]))
    return bool(expected == found)
