"""A store as one of several replicas: groups that aren't committed are cut off, or kept, also over restarts."""

from __future__ import annotations

import pytest
from storage.contract.replica_steps import follow, keys_of, lead, pull
from stores import Bench

from pyshard.errors import BadRequest, FollowerBehind
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_operations import Read, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.storage.replicated_interface import ReplicaRole


def test_a_cut(bench: Bench, other: Bench) -> None:
    """What is pending goes, what is committed doesn't, and other groups take the numbers."""
    lead(bench, 1)
    follower = follow(bench, other, 1)
    for key in (b"a", b"b", b"c"):
        bench.fill({key: b""})
    pull(bench, other, follower)
    store, last = other.store, other.store.position.sequence
    other.result(store.commit(last - 2))
    with pytest.raises(FollowerBehind, match="begin anew, with a copy"):
        other.result(store.cut(last - 3))
    with pytest.raises(BadRequest, match="expected a member"):
        bench.result(bench.store.cut(last))
    other.result(store.cut(last))
    assert store.position == LogPosition(1, last)
    other.result(store.cut(last - 1))
    assert store.position == LogPosition(1, last - 1)
    other.result(store.promise(2))
    change = Change(0, slot_of(b"x"), b"x", 2**51, 0, b"")
    other.result(store.append([ChangeGroup(last, 2, 2**51, [change])]))
    other.result(store.commit(last))
    assert keys_of(other, b"a", b"b", b"c", b"x") == [b"a", b"b", b"x"]
    assert store.ballots[-1] == (2, last)


def test_a_cut_outlives_a_restart(durable: Bench) -> None:
    """What was cut never comes back, and what wasn't is still pending; for what is in several segments, too."""
    lead(durable, 1)
    first = durable.store.sequence
    durable.result(durable.store.commit(first))
    for number in range(40):
        durable.fill({b"%d" % number: bytes(500)})
    durable.result(durable.store.be_member())
    durable.result(durable.store.cut(first + 5))
    durable.restart()
    store = durable.store
    assert store.position == LogPosition(1, first + 5)
    durable.result(store.commit(first + 100))
    assert store.sequence == store.committed == first + 5
    assert keys_of(durable, *(b"%d" % number for number in range(40))) == [b"%d" % number for number in range(5)]


def test_a_former_primary(bench: Bench) -> None:
    """What it has made and isn't committed is pending. A store in memory goes on to show it, and can't cut it."""
    bench.fill({b"a": b"1"})
    lead(bench, 1)
    store = bench.store
    bench.result(store.remember(b"old"))
    bench.result(store.commit(store.sequence))
    last = store.sequence
    bench.answers(Write("", [b"a", b"b"], [b"2", b"2"]))
    bench.result(store.set_indexes({"pages": 1}))
    bench.result(store.remember(b"new"))
    bench.result(store.own(()))
    bench.result(store.be_member())
    assert (store.position, store.committed) == (LogPosition(1, last + 4), last)
    if not bench.durable:
        with pytest.raises(FollowerBehind, match="can't be undone"):
            bench.result(store.cut(last + 1))
        assert store.position == LogPosition(1, last + 4)
        return
    assert (store.sequence, store.recall(), store.ranges.owned) == (last, b"old", EVERYTHING)
    assert bench.answers(Read("", [b"a", b"b"])) == [[b"1", None]]
    assert store.count(2) == 0
    bench.result(store.commit(last + 1))
    assert bench.answers(Read("", [b"a", b"b"])) == [[b"2", b"2"]]
    bench.result(store.cut(last + 1))
    bench.result(store.commit(last + 4))
    assert (store.sequence, store.recall(), store.ranges.owned) == (last + 1, b"old", EVERYTHING)
    bench.result(store.promise(2))
    bench.result(store.lead(2))
    bench.fill({b"p": b""}, "links")


def test_pending_groups_outlive_a_restart(durable: Bench) -> None:
    """They are pending again, and what is committed then is applied."""
    durable.fill({b"a": b""})
    lead(durable, 1)
    durable.result(durable.store.commit(durable.store.sequence))
    last = durable.store.sequence
    for key in (b"b", b"c"):
        durable.fill({key: b""})
    durable.restart()
    store = durable.store
    assert (store.role, store.position) == (ReplicaRole.MEMBER, LogPosition(1, last + 2))
    assert store.sequence == store.committed <= last
    durable.result(store.commit(last + 1))
    assert keys_of(durable, b"a", b"b", b"c") == [b"a", b"b"]
    durable.restart()
    assert lead(durable, 2) == last + 3
    assert keys_of(durable, b"a", b"b", b"c") == [b"a", b"b", b"c"]
    durable.fill({b"d": b""})
    assert durable.version(b"d") > durable.version(b"c")


# -- followers ------------------------------------------------------------------------------------------------------
