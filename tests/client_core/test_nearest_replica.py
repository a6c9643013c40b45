"""Which replica is the nearest, by value."""

from __future__ import annotations

import pytest
from replication.group_samples import A, B, C, group_of

from pyshard.client_core.nearest_replica import (
    MEASURED_EVERY,
    PATIENCE,
    NearestReplica,
    check_read_from,
    give_up_at,
    members_to_read_at,
)
from pyshard.errors import InvalidArgument
from pyshard.model.shard_map import MapShard


def test_members() -> None:
    """Each that isn't the primary, with its own address and store; no learner, and none whose store isn't known."""
    shard = MapShard("all", [(0, 10_000_000)], 1, "h", 1, "store 1", group=group_of("AB"))
    (member,) = members_to_read_at(shard)
    assert (member.address, member.identity, member.name, member.group) == (B, "store 2", "all", None)
    assert [each.address for each in members_to_read_at(shard.led_by_group(group_of("ABC", primary=B)))] == [A, C]
    assert members_to_read_at(MapShard("all", [(0, 10_000_000)], 1, "h", 1, "store 1")) == []


def test_nothing_is_known() -> None:
    """None is chosen that isn't measured."""
    nearest = NearestReplica()
    assert nearest.choose([A, B]) is None
    nearest.took(B, 0.1)
    assert (nearest.choose([A]), nearest.choose([A, B])) == (None, B)


def test_the_fastest() -> None:
    """Of those that can be asked; of two that are as fast the first."""
    nearest = NearestReplica()
    for address, seconds in ((A, 0.003), (B, 0.001), (C, 0.001)):
        nearest.took(address, seconds)
    assert NearestReplica.choose(nearest, [A, C, B]) == C
    assert nearest.choose([A, B]) == B
    assert nearest.choose([A]) == A


def test_it_stays() -> None:
    """Until another one is twice as fast; what was measured before counts by half."""
    nearest = NearestReplica()
    nearest.took(A, 0.001)
    assert nearest.choose([A, B]) == A
    nearest.took(B, 0.0006)
    assert nearest.choose([A, B]) == A
    nearest.took(B, 0.0002)
    assert nearest.choose([A, B]) == B


def test_lost() -> None:
    """It isn't chosen until it is measured again."""
    nearest = NearestReplica()
    nearest.took(A, 0.1)
    nearest.took(B, 0.001)
    assert nearest.choose([A, B]) == B
    nearest.lost(B)
    nearest.lost(C)
    assert nearest.choose([A, B]) == A
    nearest.took(B, 0.001)
    assert nearest.choose([A, B]) == B


def test_measured_now_and_then() -> None:
    """At first, and again after a while."""
    nearest = NearestReplica()
    assert nearest.is_due(0.0)
    nearest.begin(7.0)
    assert (nearest.is_due(7.0 + MEASURED_EVERY - 0.1), nearest.is_due(7.0 + MEASURED_EVERY)) == (False, True)


def test_patience() -> None:
    """The primary has half of the time that is left."""
    assert give_up_at(100.0, 10.0) == 10.0 + PATIENCE
    assert give_up_at(10.5, 10.0) == 10.25


@pytest.mark.parametrize("given", ["primary", "nearest"])
def test_where_to_read(given: str) -> None:
    """There are two places."""
    assert check_read_from(given) == given


@pytest.mark.parametrize("given", ["", "Nearest", None, 1, ["nearest"]])
def test_nowhere(given: object) -> None:
    """All else is refused."""
    with pytest.raises(InvalidArgument, match=r"^read_from: found .*, expected 'primary' or 'nearest'$"):
        check_read_from(given)


def test_late_reads() -> None:
    """What reads take beyond a quarter of a second counts as the time of Ping does, by half after each measurement."""
    nearest = NearestReplica()
    nearest.took(A, 0.001)
    nearest.took(B, 0.004)
    nearest.read_took(A, 0.25)
    assert nearest.choose([A, B]) == A
    nearest.read_took(A, 0.9)
    nearest.read_took(A, 0.3)  # less than that one
    assert (nearest.choose([A, B]), nearest.choose([A])) == (B, A)
    chosen = []
    for _ in range(15):
        nearest.took(A, 0.001)
        nearest.took(B, 0.004)
        chosen.append(nearest.choose([A, B]))
    assert chosen == [B] * 9 + [A] * 6
