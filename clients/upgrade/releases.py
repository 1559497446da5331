"""Releases to roll between, made out of the sources that there are.

    plain       as it is: contract 1, writes format 2, and knows nothing of what comes
    bridge      writes what plain writes, and reads format 3 and starts at contract 2 as well
    next        contract 2, writes format 3, and reads format 2 and starts at contract 1 as well
    renumbered  the same, of a format 3 which differs from 2 in its number alone: who does not look at that takes what
                plain wrote for its own

A record of format 3 has a ttl of six bytes instead of five: all that stands behind it is displaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python" / "cloakroom_sessions"
NODE = ROOT / "clients" / "node"

#: How much longer the header is in format 3.
WIDER = 1
#: What stands behind the ttl or counts it in, with the number of a command as a text.
NUMBERS = ["RECORD_HEADER_SIZE", "RECORD_TIMES_OFFSET", "RECORD_HEAD_SIZE"]
TEXTS = ["RECORD_HEADER_END", "RECORD_ROUTING_END", "RECORD_HEAD_END", "RECORD_TIMES_START"]
#: How a header and its parts are packed. A ttl is the only integer of five bytes.
PACKED = ["RECORD_HEADER", "RECORD_BEHIND_OP_IDS", "RECORD_NUMBERS"]


@dataclass(frozen=True)
class Release:
    """What processes of one release run by."""

    name: str
    #: Where its `lua` is, and its clients for Python and Node.
    directory: Path
    contract: int
    record_format: int
    bundle: dict[str, Any]


class Source:
    """A fragment that is changed. What is to be changed and is not there is an error: the sources have moved on."""

    def __init__(self, path: Path) -> None:
        self._path, self.text = path, path.read_text(encoding="utf-8")

    def constant(self, name: str) -> str:
        """What a line assigns to a constant."""
        return self._assigned(name)[2].strip("'")

    def set(self, name: str, value: str) -> None:
        """Makes a line assign something else, in the same quotes."""
        match = self._assigned(name)
        quote = "'" if match[2].startswith("'") else ""
        self.text = self.text[: match.start(2)] + quote + value + quote + self.text[match.end(2) :]

    def _assigned(self, name: str) -> re.Match[str]:
        # A line may assign several constants at once.
        for line in re.finditer(r"^local ([A-Z0-9_, ]+) = (.+?)(?: --.*)?$", self.text, re.MULTILINE):
            names = line[1].split(", ")
            if name in names:
                before = ", ".join(["[^,]+?"] * names.index(name))
                pattern = re.compile(rf"({before}{', ' if before else ''})([^,\n]+?)(?=,|\s*--|$)", re.MULTILINE)
                match = pattern.match(self.text, line.start(2))
                assert match, f"{name} has no value"
                return match
        raise AssertionError(f"no constant {name}")

    def replace(self, old: str, new: str) -> None:
        """Puts a text in the place of one that is there once."""
        assert self.text.count(old) == 1, f"{self.text.count(old)} times there: {old}"
        self.text = self.text.replace(old, new)

    def write(self) -> None:
        self._path.write_text(self.text, encoding="utf-8")


def make(directory: Path) -> dict[str, Release]:
    """The releases, by name."""
    return {
        "plain": _release("plain", directory, lambda record: None, 1, [1]),
        "bridge": _release("bridge", directory, _reads_format_3, 1, [1, 2]),
        "next": _release("next", directory, _writes_format_3, 2, [1, 2]),
        "renumbered": _release("renumbered", directory, _writes_another_number, 2, [1, 2]),
    }


def _release(name: str, directory: Path, change: Any, contract: int, accepts: list[int]) -> Release:
    lua = directory / name / "lua"
    shutil.copytree(ROOT / "lua", lua, ignore=shutil.ignore_patterns("export", "dist", "conformance", "bundle.json"))
    record = Source(lua / "lib" / "record.lua")
    change(record)
    record.write()
    (lua / "contract.json").write_text(json.dumps({"contract": contract, "accepts": accepts}))
    export = ["cargo", "run", "--locked", "--quiet", "-p", "cloakroom-export", "--", str(lua)]
    subprocess.run(export, cwd=ROOT, check=True)
    client = directory / name / CLIENT.name
    shutil.copytree(CLIENT, client, ignore=shutil.ignore_patterns("bundle.json", "__pycache__"))
    shutil.copy(lua / "bundle.json", client / "bundle.json")
    node = directory / name / "node"
    shutil.copytree(NODE / "src", node / "src")
    shutil.copytree(NODE / "tests", node / "tests", ignore=shutil.ignore_patterns("*.test.js"))
    shutil.copy(NODE / "package.json", node)
    shutil.copy(lua / "bundle.json", node)
    (node / "node_modules").symlink_to(NODE / "node_modules")
    bundle = json.loads((lua / "bundle.json").read_text(encoding="utf-8"))
    return Release(name, directory / name, contract, bundle["record_format"], bundle)


def _reads_format_3(record: Source) -> None:
    packed = _widened(record.constant("RECORD_HEADER"))
    size = int(record.constant("RECORD_HEADER_SIZE")) + WIDER
    # What is read of a record has to be enough of either.
    for name, more in (("RECORD_HEADER_END", 1), ("RECORD_HEAD_SIZE", 1), ("RECORD_HEAD_END", 1)):
        record.set(name, str(int(record.constant(name)) + more))
    _read_also(record, 3, packed, size)


def _writes_format_3(record: Source) -> None:
    packed, size = record.constant("RECORD_HEADER"), int(record.constant("RECORD_HEADER_SIZE"))
    for name in NUMBERS + TEXTS:
        record.set(name, str(int(record.constant(name)) + WIDER))
    for name in PACKED:
        record.set(name, _widened(record.constant(name)))
    record.set("RECORD_FORMAT", "3")
    _read_also(record, 2, packed, size)


def _writes_another_number(record: Source) -> None:
    record.set("RECORD_FORMAT", "3")
    _read_also(record, 2, record.constant("RECORD_HEADER"), int(record.constant("RECORD_HEADER_SIZE")))


def _widened(packed: str) -> str:
    assert packed.count("I5") == 1, packed
    return packed.replace("I5", "I6")


def _read_also(record: Source, number: int, packed: str, size: int) -> None:
    """Lets it make a record of that format into its own before it looks at it."""
    unpacked = re.search(r"local (format, [a-z_,\s]+?) = struct\.unpack\(RECORD_HEADER, ", record.text)
    assert unpacked, "nothing unpacks RECORD_HEADER"
    names = " ".join(unpacked[1].split())
    door = "local function record_current(raw)\n"
    record.replace(
        door,
        f"""local RECORD_{number}_HEADER = '{packed}'
local function record_of_{number}(raw)
  local {names} = struct.unpack(RECORD_{number}_HEADER, raw)
  return struct.pack(RECORD_HEADER, RECORD_FORMAT, {names.removeprefix("format, ")}) .. raw:sub({size + 1})
end

{door}  if #raw >= {size} and raw:byte() == {number} then raw = record_of_{number}(raw) end
""",
    )


def environment(release: Release) -> dict[str, str]:
    """That of a process of a release: with its client, whatever else is installed."""
    return os.environ | {"PYTHONPATH": str(release.directory), "PYTHONDONTWRITEBYTECODE": "1"}
