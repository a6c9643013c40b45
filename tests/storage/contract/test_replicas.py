"""A store as one of several replicas: what `pyshard.storage.replicated_interface` promises, for each kind of store.

Cuts of its log, and copies, have files of their own. tests/storage/replicas/ has random histories of whole groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from storage.contract.ranges import BELOW
from storage.contract.replica_steps import follow, keys_of, lead, pull
from storage.contract.test_counts_behind import check_counts
from storage.contract.test_given_up_counts import looked_at
from storage.followers.following import everything
from stores import PLENTY, Bench, prepared, task
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest, ShuttingDown
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_operations import Has, Pop, Read, Remove, Run, Write
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.protocol.store_ranges import Origin
from pyshard.storage.replicated_interface import Promise, ReplicaRole


def test_a_lone_store(bench: Bench) -> None:
    """It has promised nothing, and whatever it has made is committed."""
    store = bench.store
    bench.fill({b"a": b""})
    assert (store.role, store.promised, store.incomplete) == (ReplicaRole.ALONE, Promise(), False)
    assert (store.position, store.committed) == (LogPosition(0, store.sequence), store.sequence)
    for refused in (store.append([]), store.cut(0), store.begin_copy(ChangeGroup(1, 1, 1, [])), store.end_copy()):
        with pytest.raises(BadRequest):
            bench.result(refused)
    bench.result(store.commit(1000))
    assert store.committed == store.sequence


def test_a_promise(bench: Bench) -> None:
    """It rises, and has the text that was last given with it."""
    store = bench.store
    bench.result(store.promise(3, b"x, y"))
    bench.result(store.promise(3, b"x"))
    for ballot in (2, 0, -1):
        with pytest.raises(BadRequest, match=f"found ballot {ballot}, expected 3"):
            bench.result(store.promise(ballot))
    assert (store.promised, store.role) == (Promise(3, b"x"), ReplicaRole.ALONE)
    bench.fill({b"a": b""})


def test_a_promise_outlives_a_restart(durable: Bench) -> None:
    """It is on the disk when it is given, and the store is a member then; what it made alone is pending."""
    durable.fill({b"a": b""})
    sequence = durable.store.sequence
    durable.result(durable.store.promise(3, b"text"))
    durable.fill({b"b": b""})
    durable.restart()
    store = durable.store
    assert (store.promised, store.role) == (Promise(3, b"text"), ReplicaRole.MEMBER)
    assert store.sequence >= sequence
    assert store.position.sequence == sequence + 1
    durable.result(store.lead(3))
    assert keys_of(durable, b"a", b"b") == [b"a", b"b"]


# -- the primary ----------------------------------------------------------------------------------------------------


def test_to_lead(bench: Bench) -> None:
    """It takes the promised ballot, and a new one; the first group of it changes nothing."""
    store = bench.store
    bench.fill({b"a": b""})
    before, version = store.sequence, bench.version(b"a")
    bench.result(store.promise(2))
    for ballot in (1, 3):
        with pytest.raises(BadRequest, match="expected the promised one, 2"):
            bench.result(store.lead(ballot))
    assert store.role is ReplicaRole.ALONE
    assert bench.result(store.lead(2)) == before + 1
    assert (store.role, store.position, store.committed) == (ReplicaRole.PRIMARY, LogPosition(2, before + 1), before)
    with pytest.raises(BadRequest, match="expected a new ballot"):
        bench.result(store.lead(2))
    bench.fill({b"b": b""})
    assert bench.version(b"b") > version
    assert (store.position, store.committed, store.sequence) == (LogPosition(2, before + 2), before, before + 2)
    bench.result(store.commit(before + 1))
    assert store.committed == before + 1
    bench.result(store.commit(before))
    bench.result(store.commit(before + 100))
    assert store.committed == before + 2
    assert lead(bench, 5) == before + 3
    assert store.ballots[-2:] == ((2, before + 1), (5, before + 3))


def test_what_answers_have_seen(bench: Bench) -> None:
    """It is the batch's own group, or the last one if it changes nothing."""
    store = bench.store
    lead(bench, 1)
    last = store.sequence

    def seen(*runs: Any) -> tuple[int, int]:
        found = bench.result(store.apply_seen([task(run) for run in runs], PLENTY, PLENTY))
        return found.sequence, len(found.answers)

    assert seen(Read("", [b"a"])) == (last, 1)
    assert seen(Pop("", [b"a"])) == (last, 1)
    assert seen(Write("", [b"a"], [b""]), Read("", [b"a"])) == (last + 1, 2)
    assert seen(Pop("", [b"b"]), Has("", [b"a"])) == (last + 1, 2)
    assert seen(Pop("", [b"a"])) == (last + 2, 1)
    assert store.sequence == last + 2


def test_what_several_batches_have_seen() -> None:
    """Those that are committed together have seen their common group; the group of one that failed is nobody's."""
    with prepared("lmdb with a thread") as bench:
        store = bench.store
        lead(bench, 1)
        last = store.sequence
        runs: list[Run] = [Pop("", [b"a"]), Write("", [b"a"], [b""]), Pop("", [b"b"]), Write("", [b"c"], [b""])]
        asked = [store.apply_seen([task(run)], PLENTY, PLENTY) for run in runs]
        seen = [bench.result(each).sequence for each in asked]
        assert seen[0] in (last, last + 1)
        assert seen[1] <= seen[2] <= seen[3] == store.sequence
        assert seen[1] > last


# -- members --------------------------------------------------------------------------------------------------------


def test_a_member_shows_what_is_committed(bench: Bench, other: Bench) -> None:
    """What it has appended is pending until then, with the primary's numbers and ballots."""
    bench.fill({b"a": b""})
    lead(bench, 1)
    follower = follow(bench, other, 1)
    assert everything(other)[:5] == everything(bench)[:5]
    before = other.store.position
    bench.fill({b"b": b"", b"c": b""}, ttl=1000)
    bench.answers(Pop("", [b"a"]))
    groups = pull(bench, other, follower)
    assert other.store.position == bench.store.position == LogPosition(1, before.sequence + 2)
    assert (other.store.committed, other.store.sequence) == (before.sequence, before.sequence)
    assert keys_of(other, b"a", b"b", b"c") == [b"a"]
    other.result(other.store.commit(before.sequence + 1))
    assert keys_of(other, b"a", b"b", b"c") == [b"a", b"b", b"c"]
    other.result(other.store.commit(before.sequence + 1000))
    assert (other.store.committed, other.store.sequence) == (before.sequence + 2, before.sequence + 2)
    assert keys_of(other, b"a", b"b", b"c") == [b"b", b"c"]
    assert everything(other) == everything(bench)
    other.result(other.store.append(groups))
    assert other.store.position == bench.store.position


def test_a_member_takes_no_other_groups(bench: Bench, other: Bench) -> None:
    """The next number, a ballot that doesn't fall, and none that it hasn't promised; and nothing is taken in part."""
    lead(bench, 3)
    follow(bench, other, 3)
    store, last = other.store, other.store.position.sequence
    for groups, why in [
        ([ChangeGroup(last + 2, 3, 1, [])], f"found group {last + 2:,}, expected {last + 1:,}"),
        ([ChangeGroup(last + 1, 3, 1, []), ChangeGroup(last + 3, 3, 1, [])], "found group"),
        ([ChangeGroup(last + 1, 3, 1, []), ChangeGroup(last + 1, 3, 1, [])], "found group"),
        ([ChangeGroup(last + 1, 2, 1, [])], "found ballot 2 behind 3"),
        ([ChangeGroup(last + 1, 4, 1, [])], "the promised one, 3"),
        ([ChangeGroup(last, 2, 1, [])], "and the log has one of ballot 3; cut it first"),
        ([ChangeGroup(last - 1, 1, 1, [])], "and the log has one of ballot unknown; cut it first"),
    ]:
        with pytest.raises(BadRequest, match=why):
            other.result(store.append(groups))
        assert store.position == LogPosition(3, last)
    other.result(store.promise(4))
    other.result(store.append([ChangeGroup(last, 3, 1, []), ChangeGroup(last + 1, 4, 1, [])]))
    assert store.position == LogPosition(4, last + 1)


def test_a_member_makes_no_groups(bench: Bench) -> None:
    """It refuses whatever changes something, answers reads, and removes nothing that has expired."""
    store = bench.store
    bench.fill({b"a": b"", b"b": b""}, ttl=1000)
    bench.result(store.promise(1))
    bench.result(store.be_member())
    last = store.position
    asked: list[Callable[[], Deferred[Any]]] = [
        lambda: store.apply([task(Write("", [b"c"], [b""]))], PLENTY, PLENTY),
        lambda: store.apply_seen([task(Pop("", [b"a"]))], PLENTY, PLENTY),
        lambda: store.set_indexes({}),
        lambda: store.remember(b""),
        lambda: store.own(()),
        lambda: store.stage("m", EVERYTHING, Origin("1d", "2e")),
        lambda: store.unstage("m"),
        lambda: store.seal("m", EVERYTHING, 1),
        lambda: store.unseal("m"),
        lambda: store.absorb(ChangeGroup(1, 0, 1, [])),
        lambda: store.absorb_staged("m", ChangeGroup(1, 0, 1, []), 1, PLENTY),
    ]
    for ask in asked:
        with pytest.raises(ShuttingDown, match="isn't the primary"):
            bench.result(ask())
    assert keys_of(bench, b"a", b"b", b"c") == [b"a", b"b"]
    bench.clock.advance(5)
    assert not bench.result(store.sweep(100))
    assert keys_of(bench, b"a", b"b") == []
    assert len(everything(bench)[0]) == 2
    snapshot = store.snapshot()
    while (counted := snapshot.count()) is None:
        pass
    assert counted == 0
    snapshot.close()
    assert (store.position, len(everything(bench)[0])) == (last, 2)
    bench.result(store.lead(1))
    bench.sweep()
    assert everything(bench)[0] == []


def test_a_batch_that_waits_for_a_member() -> None:
    """What was asked for before, and isn't begun, is refused."""
    with prepared("lmdb with a thread") as bench:
        store = bench.store
        lead(bench, 1)
        became = store.be_member()
        asked = store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY)
        bench.result(became)
        with pytest.raises(ShuttingDown):
            bench.result(asked)


def test_dropped_indexes_of_a_member(bench: Bench, other: Bench) -> None:
    """Their records go by the member's own sweeps, as the log says nothing of them, but not before it is committed."""
    bench.fill({b"a": b""}, "pages")
    lead(bench, 1)
    follower = follow(bench, other, 1)
    bench.result(bench.store.set_indexes({"links": 2}))
    pull(bench, other, follower)
    assert not other.result(other.store.sweep(100))
    assert other.store.count(1) == 1
    used = other.store.used
    other.result(other.store.commit(other.store.position.sequence))
    while other.result(other.store.sweep(100)):
        pass
    assert other.store.used < used


def test_a_member_counts_ahead(bench: Bench, other: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has counted what the primary gives up, it looks at hardly any record when it does so, too."""
    bench.fill({b"many %d" % each: b"text" for each in range(300)})
    lead(bench, 1)
    follower = follow(bench, other, 1)
    for replica in (bench, other):
        while replica.result(replica.store.count_ahead(BELOW, 50)):
            pass
    bench.fill({b"many 0": b"longer text", b"more": b""})
    bench.answers(Remove("", [b"many 1", b"many 2"]))
    bench.result(bench.store.own(BELOW))
    pull(bench, other, follower)
    looks = looked_at(monkeypatch)
    other.result(other.store.commit(other.store.position.sequence))
    assert looks["at"] <= 4  # what has changed since
    assert everything(other) == everything(bench)
    check_counts(other)


def test_a_dropped_index_of_a_primary(bench: Bench) -> None:
    """Its records stay until that is committed, and nothing else waits for it."""
    bench.fill({b"a": b""}, "pages")
    lead(bench, 1)
    bench.result(bench.store.commit(bench.store.sequence))
    bench.result(bench.store.set_indexes({"links": 2}))
    dropped = bench.store.sequence
    bench.fill({b"b": b""}, ttl=1000)
    bench.clock.advance(5)
    assert bench.sweep() < 10
    assert everything(bench)[0] == []
    bench.result(bench.store.be_member())
    if not bench.durable:
        return
    bench.result(bench.store.cut(dropped - 1))
    bench.result(bench.store.promise(2))
    bench.result(bench.store.lead(2))
    assert bench.store.count(1) == 1
    assert bench.answers(Read("pages", [b"a"])) == [[b""]]


def test_a_member_without_a_promise(durable: Bench) -> None:
    """It is a member after a restart, too."""
    durable.result(durable.store.be_member())
    durable.restart()
    assert (durable.store.role, durable.store.promised) == (ReplicaRole.MEMBER, Promise())


# -- cuts and former primaries --------------------------------------------------------------------------------------
