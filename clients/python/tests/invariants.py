"""What holds of all keys of a namespace, as the cases write them, where nothing was planted."""

from __future__ import annotations

import re
from typing import Any

_OWNED = re.compile(r"\{ns:p\}:(user|node):(.*):sessions", re.DOTALL)
_POINTER = re.compile(r"\{ns:p\}:connection:(.*):session", re.DOTALL)
_LEASE = re.compile(r"\{ns:p\}:node:(.*):lease", re.DOTALL)
_NO_TASK = "00" * 8
Stored = dict[str, Any]


def violations(stored: Stored) -> list[str]:
    """What is wrong, in sentences."""
    prefix = "{ns:p}:session:"
    records = {key.removeprefix(prefix): held.get("record") for key, held in stored.items() if key.startswith(prefix)}
    broken = [f"what is stored of {id} is no record" for id, record in records.items() if record is None]
    if broken:
        return broken
    live = {id: record for id, record in records.items() if record["kind"] == "live"}
    wrong = [*_records(stored, live), *_entries(stored, live), *_migrations(stored, records), *_nodes(stored)]
    if "{ns:p}:contract" in stored:
        wrong.append("a script noted a contract")
    return wrong


def _records(stored: Stored, live: Stored) -> list[str]:
    """Each session has its entries."""
    wrong = []
    for id, record in live.items():
        needed = {"{ns:p}:expiry": record["expires_at"]}
        needed |= {f"{{ns:p}}:{owner}:{record[owner]}:sessions": record["created_at"] for owner in ("user", "node")}
        for key, score in needed.items():
            if "::sessions" not in key and _members(stored, key).get(id) != score:
                wrong.append(f"{key} does not have {id} at {score}")
        pointer = f"{{ns:p}}:connection:{record['connection']}:session"
        if record["connection"] and stored.get(pointer) != {"string": id}:
            wrong.append(f"{pointer} does not name {id}")
    return wrong


def _entries(stored: Stored, live: Stored) -> list[str]:
    """Each entry has its session. The empty member of the expiry index is its own note."""
    wrong = [f"the expiry index has {id}" for id in _members(stored, "{ns:p}:expiry") if id and id not in live]
    for key in stored:
        if owned := _OWNED.fullmatch(key):
            owner, name = owned.groups()
            ids = _members(stored, key)
            wrong += [f"{key} has {id}" for id in ids if id not in live or live[id][owner] != name]
        elif pointed := _POINTER.fullmatch(key):
            id = stored[key]["string"]
            wrong += [] if id in live and live[id]["connection"] == pointed[1] else [f"{key} names {id}"]
    return wrong


def _migrations(stored: Stored, records: Stored) -> list[str]:
    """What is on its way is listed, by the end of its freeze if it has one. An entry may outlive that."""
    listed, wrong = _members(stored, "{ns:p}:migrations"), []
    for id, record in records.items():
        freeze, task = record.get("freeze"), record.get("task", _NO_TASK)
        if freeze and freeze["task"] != _NO_TASK and record["kind"] == "live":
            is_right = listed.get(id) == freeze["frozen_until"]
        else:
            is_right = task == _NO_TASK or id in listed
        wrong += [] if is_right else [f"{id} is on its way, and listed at {listed.get(id)}"]
    return wrong


def _nodes(stored: Stored) -> list[str]:
    """Nodes are listed by the ends of their leases, and those that are listed are kept."""
    nodes, kept = _members(stored, "{ns:p}:nodes"), _members(stored, "{ns:p}:nodes:kept")
    leased = {found[1] for key in stored if (found := _LEASE.fullmatch(key))}
    return [] if leased == set(nodes) == set(kept) else [f"{leased} are leased, {nodes} listed and {kept} kept"]


def _members(stored: Stored, key: str) -> dict[str, float]:
    members: dict[str, float] = stored.get(key, {}).get("zset", {})
    return members
