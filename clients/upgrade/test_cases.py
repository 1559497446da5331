"""What each operation does to what another release stored, by the scripts alone."""

from __future__ import annotations

import pytest
from support import Server

from cases import Caller, Case, Outcome, cases, run
from releases import Release

CASES = [pytest.param(case, id=f"{case.operation}: {case.name}") for case in cases()]
#: What sets broken records aside, when their time is over or when somebody asks for it.
SETS_ASIDE = {"reap", "mend_record"}


@pytest.fixture(scope="session")
def callers(releases: dict[str, Release], server: Server) -> dict[str, Caller]:
    return {name: Caller(release, server.client) for name, release in releases.items()}


def records(strings: dict[str, bytes]) -> dict[str, bytes]:
    return {key: raw for key, raw in strings.items() if key.startswith(":session:")}


def assert_written_in(caller: Caller, outcome: Outcome) -> None:
    """What the call wrote is of its release's format as a whole; what it did not write is as it was."""
    before, after = records(outcome.raw_before), records(outcome.raw_after)
    for key, raw in after.items():
        assert raw == before.get(key) or raw[0] == caller.release.record_format, f"{key} was not written anew"


@pytest.mark.parametrize("case", CASES)
def test_what_one_release_stored_the_other_reads_and_writes_as_if_it_were_its_own(
    case: Case, callers: dict[str, Caller], server: Server
) -> None:
    plain, bridge, later = callers["plain"], callers["bridge"], callers["next"]
    alone = run(case, plain, plain, server.client)
    for before, caller in ((plain, later), (bridge, later), (later, bridge), (plain, callers["renumbered"])):
        outcome = run(case, before, caller, server.client)
        assert (outcome.reply, outcome.after) == (alone.reply, alone.after)
        assert_written_in(caller, outcome)


@pytest.mark.parametrize("case", CASES)
def test_a_release_that_is_no_bridge_changes_no_record_that_it_cannot_read(
    case: Case, callers: dict[str, Caller], server: Server
) -> None:
    plain, later = callers["plain"], callers["next"]
    outcome = run(case, later, plain, server.client)
    unread = {key: raw for key, raw in records(outcome.raw_before).items() if raw[:1] == b"\3"}
    left = {key: raw for key, raw in unread.items() if outcome.raw_after.get(key) == raw}
    aside = {
        key: raw
        for key, raw in unread.items()
        if case.operation in SETS_ASIDE and outcome.raw_after.get(key.replace(":session:", ":aside:", 1)) == raw
    }
    assert left | aside == unread
