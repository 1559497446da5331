"""The slots of a cluster: which node serves what, and what is sent again elsewhere.

redis-py's own cluster client sends a command again when its connection broke, without a word: a script may run twice.
So each node has plain connections here, and nothing is sent twice but what a node says that it did not execute. Nothing
here touches a socket: `deliver` yields errands to nodes, and gets what became of each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from redis.exceptions import BusyLoadingError, ClusterDownError, MovedError, TryAgainError

from .bundle import Command
from .call import Commands, Crowded, Lost, Outcome, Parcel, Replies, Timed, Unreachable, Unsent, is_for_good
from .epochs import Epochs
from .errors import Invalid
from .partitions import SLOTS, slot_of
from .server_errors import is_ask

#: How long the map is taken for true, in seconds.
_FRESH_S = 30.0
#: Between two attempts at what is not served: at first, each next one twice as long, and at most.
_PAUSES_S = (0.02, 0.25)
#: What no node refuses for its slots.
_KEYLESS = ("TIME", "MULTI", "EXEC", "SCRIPT")
_LATER = (TryAgainError, ClusterDownError, BusyLoadingError)
_MULTI: Command = ["MULTI"]
_ASKING: Command = ["ASKING"]
_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_FORM = "must be redis+cluster://[user:password@]host[:port],host[:port], or rediss+cluster://…"


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Errand:
    """Commands for one node, in one pipeline."""

    address: Address
    commands: Commands
    #: When they may be sent, and until when a connection is waited for, by the steady clock.
    not_before: float
    until: float


@dataclass
class _Way:
    """Where a parcel goes next, and what is known of its answers."""

    tag: str
    commands: Commands
    #: The places of the commands that are sent, and where to, if not to the owner of the slot.
    places: list[int]
    follows_keys: bool = True
    asked: Address | None = None
    replies: Replies = field(default_factory=list)
    #: How it failed last.
    trouble: Unreachable | Unsent | None = None

    def whole(self) -> None:
        """Begins anew at the owner."""
        self.places, self.asked = list(range(len(self.commands))), None

    def sent(self) -> Commands:
        """What is sent. A node that takes a slot in serves its keys only to who says that another one sent him."""
        commands: Commands = []
        for place in self.places:
            command = self.commands[place]
            if self.asked and (not _is_keyless(command) if self.commands[0] != _MULTI else command == _MULTI):
                commands.append(_ASKING)
            commands.append(command)
        return commands


Deliveries = Generator[list[Errand], list[Outcome], Any]


class Cluster:
    """What is known of a cluster."""

    def __init__(self, seeds: list[Address]) -> None:
        self._seeds = seeds
        self._owners: list[Address | None] = [None] * SLOTS
        self._epochs = Epochs()
        self._read_at = float("-inf")

    def homes(self, tags: list[str]) -> list[int]:
        """The places of tags that have different owners: one of each."""
        found: dict[Address | None, int] = {}
        for place, tag in enumerate(tags):
            found.setdefault(self._owners[slot_of(tag)], place)
        return list(found.values())

    def deliver(self, parcels: list[Parcel]) -> Deliveries:
        """What became of parcels. What a node did not execute is sent where it says, or again, until the first of their
        deadlines."""
        until, pause_s = min(parcel.until for parcel in parcels), _PAUSES_S[0]
        not_before = max(parcel.not_before for parcel in parcels)
        outcomes: dict[int, Outcome] = {}
        ways = {
            at: _Way(each.tag, each.commands, [*range(len(each.commands))], each.follows_keys)
            for at, each in enumerate(parcels)
        }
        while ways:
            if time.monotonic() - self._read_at > _FRESH_S:
                yield from self._read(not_before, until)
            groups: dict[Address, list[int]] = {}
            for at, way in ways.items():
                address = way.asked or self._owners[slot_of(way.tag)] or random.choice(self._seeds)
                groups.setdefault(address, []).append(at)
            sent = {address: [ways[at].sent() for at in places] for address, places in groups.items()}
            errands = [
                Errand(address, [command for commands in all for command in commands], not_before, until)
                for address, all in sent.items()
            ]
            waits = False
            for errand, outcome in zip(errands, (yield errands), strict=True):
                places = groups[errand.address]
                if not isinstance(outcome, list):
                    if not isinstance(outcome, Crowded):
                        self._read_at = float("-inf")  # it may be gone, and another have its slots
                    for at in places:
                        before, ways[at].trouble = ways[at].trouble, None if isinstance(outcome, Lost) else outcome
                        ways[at].whole()
                        # Another server, with another password, may have taken the address over: a new map tells.
                        is_refused_again = before and is_for_good(before) and is_for_good(outcome)
                        if isinstance(outcome, (Lost, Crowded)) or is_refused_again:
                            outcomes[at] = outcome
                    waits = True
                    continue
                replies = iter(outcome)
                for at, commands in zip(places, sent[errand.address], strict=True):
                    told = [(command, next(replies)) for command in commands]
                    answers = [reply for command, reply in told if command != _ASKING]
                    is_over = self._judge(ways[at], answers, errand.address)
                    if is_over:
                        outcomes[at] = ways[at].replies
                    waits = waits or is_over is None
            ways = {at: way for at, way in ways.items() if at not in outcomes}
            if waits:
                not_before = time.monotonic() + pause_s
                pause_s = min(2 * pause_s, _PAUSES_S[1])
            if time.monotonic() + (pause_s if waits else 0) > until:
                for at, way in ways.items():
                    outcomes[at] = way.trouble or way.replies
                ways = {}
        return [outcomes[at] for at in range(len(parcels))]

    def _judge(self, way: _Way, answers: Replies, address: Address) -> bool | None:
        """Takes the answers of a node. Whether the parcel is answered; `None`: not yet, and it is to wait."""
        way.trouble = None
        if len(answers) == len(way.commands):
            way.replies = answers
        else:
            for place, answer in zip(way.places, answers, strict=True):
                way.replies[place] = answer
        moved = [answer for answer in answers if isinstance(answer, MovedError)]
        asked = [at for at, answer in zip(way.places, answers, strict=True) if is_ask(answer)]
        if moved:
            owner = Address(moved[0].host or address.host, moved[0].port)
            is_news = self._owners[slot_of(way.tag)] != owner
            self._owners[slot_of(way.tag)] = owner
            if is_news:
                self._read_at = float("-inf")
            way.whole()
            return False if is_news else None
        if not way.follows_keys and any(isinstance(answer, TryAgainError) or is_ask(answer) for answer in answers):
            return True
        if any(isinstance(answer, _LATER) for answer in answers):
            if any(isinstance(answer, ClusterDownError) for answer in answers):
                self._read_at = float("-inf")
            way.whole()
            return None
        if not asked:
            return True
        to: Any = way.replies[asked[0]]
        way.asked = Address(to.host or address.host, to.port)
        keyless = [at for at, command in enumerate(way.commands) if _is_keyless(command)]
        if way.commands[0] == _MULTI:
            # Some keys are here and some there: no transaction reaches both.
            if len(asked) + len(keyless) < len(way.commands):
                way.whole()
                return None
            way.places = [*range(len(way.commands))]
        else:
            # The time is that of the server that has the key.
            way.places = sorted({*asked, *(at for at in keyless)})
        return False

    def _read(self, not_before: float, until: float) -> Deliveries:
        """Reads the map at the nodes in turn, until one knows it that is not behind what was known."""
        known = {*filter(None, self._owners), *self._seeds}
        told: list[tuple[int, Address, Any]] = []
        for address in random.sample(sorted(known), len(known)):
            (outcome,) = yield [Errand(address, [["CLUSTER", "INFO"], ["CLUSTER", "SLOTS"]], not_before, until)]
            if isinstance(outcome, list) and not any(isinstance(reply, Exception) for reply in outcome):
                info, slots = outcome
                epoch = _epoch(info)
                if epoch is not None:
                    told.append((epoch, address, slots))
                    if epoch >= self._epochs.newest:
                        break
        if told:
            newest, address, slots = max(told, key=lambda one: one[0])
            if self._epochs.admit(newest, "all" if len(told) == len(known) else "some", time.monotonic()):
                self._owners, self._read_at = _owners(slots, address), time.monotonic()
                return
        # None did. What is known is tried meanwhile.
        self._read_at = time.monotonic() - _FRESH_S + _PAUSES_S[1]


def _is_keyless(command: Command | Timed) -> bool:
    return not isinstance(command, Timed) and command[0] in _KEYLESS


def _epoch(info: bytes) -> int | None:
    """The newest epoch that a node knows of; `None` where it knows of no cluster that serves."""
    lines = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
    return int(lines["cluster_current_epoch"]) if lines.get("cluster_state") == "ok" else None


def _owners(ranges: Iterable[Any], address: Address) -> list[Address | None]:
    """For each slot its owner, as a node has it. One whose address the node does not know is nobody's."""
    owners: list[Address | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_replicas in ranges:
        name = (host or b"").decode()
        if name != "?":
            owners[first : last + 1] = [Address(name or address.host, port)] * (last + 1 - first)
    return owners


def parse(url: str) -> tuple[list[Address], dict[str, Any]] | None:
    """The nodes that a URL names, and the options of a client for each. `None`: it is no URL of a cluster."""
    scheme, separator, rest = url.partition("://")
    kind = scheme.removesuffix("+cluster").removesuffix("-cluster")
    if not separator or kind == scheme or kind not in _SCHEMES:
        return None
    user, _, hosts = rest.removesuffix("/").rpartition("@")
    name, _, password = user.partition(":")
    options: dict[str, Any] = {"ssl": True} if _SCHEMES[kind] else {}
    if user:
        options |= {"username": unquote(name) or None, "password": unquote(password) or None}
    # Without the URL, which may have a password.
    try:
        seeds = [_address(host) for host in hosts.split(",")]
    except ValueError:
        raise Invalid("source", _FORM) from None
    if any(not host or {"/", "?", "#"} & set(host) for host, _ in seeds):
        raise Invalid("source", _FORM)
    return seeds, options


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "6379")
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError(port)
    return Address(host.strip("[]"), number)
