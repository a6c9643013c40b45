"""A store as one of several replicas: what `pyshard.storage.replicated_interface` promises, for each kind of store.

tests/storage/replicas/ has random histories of whole groups of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from storage.contract.ranges import BELOW
from storage.contract.test_given_up_counts import looked_at
from storage.followers.following import everything
from stores import PLENTY, Bench, check_consistent, prepared, task
from twisted.internet.defer import Deferred

from pyshard.errors import BadRequest, FollowerBehind, ShuttingDown, StorageFailed
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import EVERYTHING
from pyshard.protocol.batch_operations import Has, Pop, Read, Remove, Run, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import IFollower, LmdbStore
from pyshard.storage.replicated_interface import Promise, ReplicaRole


@pytest.fixture
def other(kind: str) -> Iterator[Bench]:
    """Another replica of the same kind, which has nothing yet."""
    with prepared(kind) as bench:
        yield bench


def lead(bench: Bench, ballot: int) -> int:
    """Have a store lead; the number of its first group."""
    bench.result(bench.store.promise(ballot))
    return bench.result(bench.store.lead(ballot))


def follow(bench: Bench, other: Bench, ballot: int) -> IFollower:
    """Have a store be a member that has all of the primary, from a copy, and knows it as committed."""
    bench.result(bench.store.commit(bench.store.position.sequence))
    other.result(other.store.promise(ballot))
    other.result(other.store.be_member())
    load_copy(bench, other)
    return bench.store.follow("m", other.store.position.sequence, uncommitted=True)


def load_copy(bench: Bench, other: Bench) -> None:
    """Load a copy."""
    copy = bench.result(bench.store.copy("m"))
    other.result(other.store.begin_copy(copy.head))
    while (page := copy.page(100)) != []:
        other.result(other.store.load_page(page or []))
    copy.close()
    other.result(other.store.end_copy())


def pull(bench: Bench, other: Bench, follower: IFollower) -> list[ChangeGroup]:
    """Have a member append what the primary has made since."""
    found: list[ChangeGroup] = []
    while other.store.position != bench.store.position:
        groups = bench.result(follower.groups(1))
        other.result(other.store.append(groups))
        found += groups
    return found


def keys_of(bench: Bench, *keys: bytes) -> list[Any]:
    """Which keys are there."""
    (found,) = bench.answers(Has("", list(keys)))
    return [key for key, there in zip(keys, found, strict=True) if there is True]


# -- alone ----------------------------------------------------------------------------------------------------------


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
    if isinstance(other.store, LmdbStore):
        check_consistent(other.store)
        counted = other.store._engine.counters.hidden
        other.store._engine.recount()
        assert other.store._engine.counters.hidden == counted


# -- cuts and former primaries --------------------------------------------------------------------------------------


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
    change = Change(0, slot_of(b"x"), b"x", 2**60, 0, b"")
    other.result(store.append([ChangeGroup(last, 2, 2**60, [change])]))
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


def waiting(follower: IFollower) -> list[ChangeGroup]:
    """What a follower is given at once."""
    found: list[list[ChangeGroup]] = []
    given = follower.groups(PLENTY)
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
        move, member = store.follow("move", place), store.follow("member", place, uncommitted=True)
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
        member.groups(PLENTY).addErrback(lambda failure: ended.append(failure.trap(StorageFailed)))
        bench.result(store.be_member())
        assert ended == [StorageFailed]
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
    follower = bench.store.follow("m", last, uncommitted=True)
    found: list[int] = []
    while len(found) < 31:
        found += [group.sequence for group in bench.result(follower.groups(200))]
    assert found == list(range(last + 1, last + 32))


# -- copies ---------------------------------------------------------------------------------------------------------


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
    assert ended == [StorageFailed]
    assert list(store.followers) == []
    bench.result(store.end_copy())
    assert (store.position, store.documents) == (LogPosition(1, 7), 0)
