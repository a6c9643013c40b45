"""What a replica tells of itself, by value."""

from __future__ import annotations

from math import inf

import msgspec
import pytest

from pyshard.bootstrap.status_page.shard_figures import read_figures
from pyshard.client_core.cluster_answers import stat_of
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import MapShard
from pyshard.replication.group_times import of_lease
from pyshard.replication.primary_term import OtherReplica, PrimaryTerm
from pyshard.replication.pulls import Pull
from pyshard.replication.replica_figures import member_figures, primary_figures, why_primary_waits

A, B, C = (MapReplica("h", port, StoreId(f"{port}d", "i"), True) for port in (1, 2, 3))
DUO = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2"}), (A, B, C), 2, 3.0)
SILENT = OtherReplica("h:2", 4, 2.5, False)


def test_primary() -> None:
    """A primary tells of the others."""
    told = primary_figures(PrimaryTerm(DUO, of_lease(3.0), 0.0, b"t" * 16), 9, 1.25, "").described()
    other = {"groups_behind": 9, "silent": 1.25, "needs_copy": False, "stale": None}
    assert told == {
        "role": "primary",
        "ballot": 5,
        "primary": "h:1",
        "members": 2,
        "replicas": 3,
        "min_replicas": 2,
        "lease": 0.0,
        "silent": None,
        "stale": None,
        "most_stale": 6.0,
        "waits": "it answers nothing until its members are heard of, or removed",
        "others": [{"address": "h:2", "role": "member", **other}, {"address": "h:3", "role": "learner", **other}],
    }


def test_others() -> None:
    """Who follows tells when it was answered last, and why it gets nothing; one that is to lead is a member as yet."""
    told = member_figures(DUO, "h:3", 1.0, 3.5, "connection refused", 0.75).described()
    assert (told["role"], told["silent"], told["waits"], told["lease"]) == ("learner", 2.5, "connection refused", None)
    assert (told["stale"], told["most_stale"]) == (0.75, 6.0)
    assert member_figures(DUO, "h:1", 1.0, 1.0, "", None).role == "member"


def test_staleness_of_the_others() -> None:
    """What each says when it asks, and what has passed since."""
    term = PrimaryTerm(DUO, of_lease(3.0), 0.0, b"t" * 16)
    term.heard(Pull(5, "h:2", "2d", "i", ((5, 1),), 9, True, stale=0.5), ((5, 1),), 9, 9, 1.0)
    others = primary_figures(term, 9, 1.25, "").described()["others"]
    assert [other["stale"] for other in others] == [0.75, None]  # type: ignore[attr-defined]


@pytest.mark.parametrize("stale", [0.0, 1e9, 1e9 + 1, 1e12, 1e300, inf])
def test_members_leave_statistics_readable(stale: float) -> None:
    """However old a member says that its state is, clients and the web page take what its primary tells of that."""
    asked = msgspec.msgpack.encode(Pull(5, "h:2", "2d", "i", ((5, 1),), 9, True, stale=stale))
    if stale > 1e9:
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(asked, type=Pull)
        return
    term = PrimaryTerm(DUO, of_lease(3.0), 0.0, b"t" * 16)
    term.heard(msgspec.msgpack.decode(asked, type=Pull), ((5, 1),), 9, 9, 1.0)
    told = {"uptime": 1.0, "operations": 0, "documents": 0, "bytes": 0, "ready": True}
    stat = msgspec.json.encode(told | {"replica": primary_figures(term, 9, 3600.0, "").described()})
    assert "error" not in stat_of(MapShard("a", ((0, 9),), 9, "h", 1), stat)
    assert read_figures(stat, 0.0).stale["h:2"] == stale + 3599


@pytest.mark.parametrize(
    ("least", "switching", "lease", "why"),
    [
        (2, None, 1.0, ""),
        (2, None, inf, ""),
        (2, "h:2", 1.0, "h:2 is to lead"),
        (3, None, 1.0, "it takes no changes: 2 have all documents, and min_replicas is 3"),
        (2, None, 0.0, "it answers nothing until h:2 are heard of"),
    ],
)
def test_why_a_primary_waits(least: int, switching: str | None, lease: float, why: str) -> None:
    """For another to lead, for more members, or for a word of those that it has."""
    group = ReplicaGroup(5, "h:1", DUO.members, DUO.replicas, least)
    found = why_primary_waits(group, switching, lease, [SILENT])
    assert why in found
    assert bool(found) is bool(why)
