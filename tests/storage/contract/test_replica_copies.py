"""A store as one of several replicas: what it gives those that follow it, and how it becomes a copy of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from storage.contract.ranges import BELOW, HIGH, LOW, records_from, stage
from storage.contract.replica_steps import follow, keys_of, lead, load_copy, next_groups, pull
from storage.followers.following import everything
from stores import PLENTY, Bench, prepared
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_operations import Pop, Write
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.storage import IFollowingReplica, LmdbStore
from pyshard.storage.following_interface import FollowerEnded
from pyshard.storage.replicated_interface import Promise, ReplicaRole


def waiting(follower: IFollowingReplica) -> Sequence[ReplicatedGroup]:
    """What a follower is given at once."""
    found: list[Sequence[ReplicatedGroup]] = []
    given = next_groups(follower, PLENTY)
    given.addCallbacks(found.append, lambda _: None)
    if not found:
        given.cancel()
    return found[0] if found else []


def test_what_followers_are_given(kind: str) -> None:
    """A move is given what is committed alone, and members all, the groups that change nothing, too."""
    if kind == "lmdb with a thread":
        kind = "lmdb"
    with prepared(kind) as bench:
        store = bench.store
        bench.result(store.promise(1))
        place = store.sequence
        store.follow("move", place)
        last = bench.result(store.lead(1))
        move, member = store.follow("move", place), store.follow_as_replica("member", place, 0)
        assert [group.sequence for group in waiting(member)] == [last]
        bench.fill({b"a": b""})
        assert [group.sequence for group in waiting(member)] == [last + 1]
        assert waiting(move) == []
        given: list[list[ChangeGroup]] = []
        move.groups(PLENTY).addCallback(given.append)
        if isinstance(store, LmdbStore):  # also what is on the disk
            store._engine._last_sync = -1e9
            bench.result(store.sweep(1))
        assert given == []
        bench.result(store.commit(last + 1))
        assert [group.sequence for group in given[0]] == [last + 1]
        ended: list[object] = []
        member.groups(PLENTY).addErrback(lambda failure: ended.append(failure.trap(FollowerEnded)))
        bench.result(store.be_member())
        assert ended == [FollowerEnded]
        move.groups(PLENTY).addErrback(lambda _: None)


def test_groups_for_members_are_kept(bench: Bench) -> None:
    """A primary has all groups that aren't committed, whoever has followed it before."""
    lead(bench, 1)
    bench.result(bench.store.commit(bench.store.sequence))
    last = bench.store.sequence
    for number in range(30):
        bench.fill({b"%d" % number: bytes(100)})
    bench.store.forget("m")
    bench.result(bench.store.be_member())
    assert lead(bench, 2) == last + 31
    follower = bench.store.follow_as_replica("m", last, 0)
    found: list[int] = []
    while len(found) < 31:
        found += [group.sequence for group in bench.result(next_groups(follower, 200))]
    assert found == list(range(last + 1, last + 32))


# -- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["staged", "left"])
def test_a_copy_with_hidden_records(bench: Bench, other: Bench, hidden: str) -> None:
    """What the primary hides its member hides, and counts as the primary does."""
    bench.result(bench.store.own(BELOW))
    stage(bench, records_from(HIGH))
    bench.fill(dict.fromkeys(LOW, b"text"))
    if hidden == "left":
        bench.result(bench.store.unstage("m"))
    lead(bench, 4)
    follow(bench, other, 4)
    assert (other.store.documents, other.store.used) == (bench.store.documents, bench.store.used)
    assert other.store.documents == len(LOW)


def test_a_copy(bench: Bench, other: Bench) -> None:
    """The store becomes what the other one has, whatever it had, and another incarnation of itself."""
    bench.fill({b"%d" % number: bytes(50) for number in range(100)})
    bench.fill({b"soon": b""}, ttl=1000)
    bench.fill({b"p": b""}, "pages")
    bench.result(bench.store.remember(b"text"))
    bench.result(bench.store.own(((0, 5_000_000),)))
    lead(bench, 4)
    bench.clock.advance(10)
    other.fill({b"old": b"", b"0": b"old"})
    other.fill({b"old": b""}, "links")
    other.result(other.store.set_indexes({"old": 9}))
    incarnation = other.store.incarnation
    follower = follow(bench, other, 4)
    assert other.store.incarnation != incarnation
    while other.result(other.store.sweep(100)):
        pass
    assert everything(other) == everything(bench)
    assert (other.store.position, other.store.committed) == (bench.store.position, bench.store.committed)
    assert (other.store.role, other.store.incomplete) == (ReplicaRole.MEMBER, False)
    bench.answers(Pop("", [b"1"]), Write("", [b"2"], [b"new"]))
    pull(bench, other, follower)
    other.result(other.store.commit(other.store.position.sequence))
    assert everything(other)[:5] == everything(bench)[:5]
    other.result(other.store.promise(5))
    other.result(other.store.lead(5))
    other.result(other.store.own(EVERYTHING if not other.store.ranges.left else ((0, 5_000_000),)))


def test_a_copy_outlives_a_restart(durable: Bench) -> None:
    """It is complete with its last call, and not before. Until then it has nothing that anybody could take for data."""
    with prepared(durable.kind) as source:
        source.fill({b"%d" % number: bytes(50) for number in range(100)})
        source.result(source.store.remember(b"text"))
        lead(source, 1)
        source.result(source.store.commit(source.store.sequence))
        durable.fill({b"old": b""})
        durable.result(durable.store.remember(b"old"))
        durable.result(durable.store.promise(1, b"mine"))
        durable.result(durable.store.be_member())
        copy = source.result(source.store.copy("m"))
        durable.result(durable.store.begin_copy(copy.head))
        durable.result(durable.store.load_page(copy.page(1000) or []))
        copy.close()
        durable.restart()
        store = durable.store
        assert (store.incomplete, store.role, store.promised) == (True, ReplicaRole.MEMBER, Promise(1, b"mine"))
        assert (store.position, store.ballots, store.committed, store.recall()) == (LogPosition(), (), 0, None)
        assert keys_of(durable, b"old") == []
        refused: list[Deferred[Any]] = [
            store.append([]),
            store.cut(0),
            store.lead(1),
            store.load_page([]),
            store.end_copy(),
        ]
        for each in refused:
            with pytest.raises(BadRequest):
                durable.result(each)
        durable.result(store.commit(1000))
        load_copy(source, durable)
        incarnation = store.incarnation
        durable.restart()
        assert everything(durable) == everything(source)
        assert durable.store.position == source.store.position
        assert not durable.store.incomplete
        if not durable.killed:
            assert durable.store.incarnation == incarnation


def test_who_followed_before_a_copy(bench: Bench) -> None:
    """They are told to begin anew, since the numbers that they know are those of another log."""
    store = bench.store
    bench.fill({b"a": b""})
    follower = store.follow("f", store.sequence)
    bench.result(store.promise(1))
    bench.result(store.be_member())
    ended: list[object] = []
    follower.groups(PLENTY).addErrback(lambda failure: ended.append(failure.type))
    bench.result(store.begin_copy(ChangeGroup(7, 1, 100, [], {})))
    assert ended == [FollowerEnded]
    assert list(store.followers) == []
    bench.result(store.end_copy())
    assert (store.position, store.documents) == (LogPosition(1, 7), 0)
