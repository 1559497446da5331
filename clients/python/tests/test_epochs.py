"""Which map of a cluster counts."""

from __future__ import annotations

import time
from typing import Any

from cloakroom_sessions.call import Lost, Parcel
from cloakroom_sessions.cluster import Address, Cluster
from cloakroom_sessions.epochs import GIVEN_UP_AFTER_S, Epochs

SEEDS = [Address("one", 1), Address("two", 2)]
CALL: list[Any] = ["GET", "k"]


def test_an_older_epoch_counts_only_where_all_tell_it_or_none_has_told_the_newer_for_long() -> None:
    epochs = Epochs()
    assert epochs.admit(7, "some", 0)
    assert not epochs.admit(6, "some", 0)
    assert epochs.admit(7, "some", 0), "the same is no older one"
    assert epochs.admit(6, "all", 0), "they were set up anew"
    assert epochs.admit(8, "some", 0)
    assert not epochs.admit(6, "some", 0)
    assert not epochs.admit(6, "some", GIVEN_UP_AFTER_S / 2)
    assert epochs.admit(8, "some", GIVEN_UP_AFTER_S / 2)
    assert not epochs.admit(6, "some", GIVEN_UP_AFTER_S), "the newer was told meanwhile"
    assert epochs.admit(6, "some", 2 * GIVEN_UP_AFTER_S)


def map_of(epoch: int, owner: Address) -> list[Any]:
    """What a node tells that knows one owner of all slots."""
    info = f"cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n".encode()
    return [info, [[0, 16383, [owner.host.encode(), owner.port, b"id"]]]]


def sent_to(cluster: Cluster, told: dict[Address, Any]) -> Address:
    """To whom a cluster sends a call, whose nodes tell such maps."""
    cluster._read_at = float("-inf")
    deliveries = cluster.deliver([Parcel("{t:0}", [CALL], time.monotonic() + 1)])
    (errand,) = next(deliveries)
    while errand.commands != [CALL]:
        (errand,) = deliveries.send([told[errand.address]])
    return errand.address


def test_a_cluster_that_was_set_up_anew_is_followed_though_its_epochs_are_smaller() -> None:
    cluster, (one, two) = Cluster(SEEDS), SEEDS
    assert sent_to(cluster, {each: map_of(7, one) for each in SEEDS}) == one
    # Only one of them answers: it may have been cut off.
    assert sent_to(cluster, {one: Lost(), two: map_of(6, two)}) == one
    assert sent_to(cluster, {one: map_of(7, one), two: map_of(6, two)}) == one
    assert sent_to(cluster, {one: map_of(3, two), two: map_of(2, one)}) == two
    assert sent_to(cluster, {one: Lost(), two: map_of(2, one)}) == two
