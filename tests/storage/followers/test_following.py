"""A copy and all groups behind it, absorbed into an empty store, give the same store, whatever happens in between."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from storage.followers.following import Following, everything, sweep_dropped
from stores import INDEXES, PLENTY, Bench, check_consistent, folder, task

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, common, union, without
from pyshard.protocol.batch_operations import Increment, Pop, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.storage import LmdbStore

KEYS = [b"a", b"b", b"c", b"", b"\xc3\xa9", b"long" * 200, b"other" * 200]
ONE = b"\x01\0\0\0\x1c\x01"
THIRD = Origin("1d", "2e")
TTLS = st.sampled_from([0, 0, 1000, 2000, 60_000])

keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)
names = st.sampled_from(["", "", "pages", "links"])
writes = st.builds(
    lambda name, some, size, ttl: Write(name, some, [ONE + bytes(size)] * len(some), None, [ttl] * len(some)),
    names, keys, st.sampled_from([0, 5, 3000]), TTLS,
)  # fmt: skip
plain_writes = st.builds(lambda name, some: Write(name, some, [ONE] * len(some)), names, keys)
pops = st.builds(Pop, names, keys)
touches = st.builds(lambda name, some, ttl: Touch(name, some, [ttl] * len(some)), names, keys, TTLS)
increments = st.builds(lambda name, some: Increment(name, some, [ONE] * len(some), [ONE] * len(some)), names, keys)
batches = st.lists(writes | plain_writes | pops | touches | increments, min_size=1, max_size=3)
indexes = st.sampled_from([{}, {"pages": 1}, {"links": 2}, {"pages": 1, "links": 2}])

owned = st.sampled_from([((0, 3_000_000), (6_000_000, SLOTS)), ((2_000_000, 8_000_000),), ((0, SLOTS),), ()])

steps = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), batches),
        st.tuples(st.just("apply"), batches),
        st.tuples(st.just("apply"), batches),
        st.tuples(st.just("indexes"), indexes),
        st.tuples(st.just("remember"), st.binary(max_size=3)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 60.0])),
        st.tuples(st.just("sweep"), st.integers(1, 5)),
        st.tuples(st.just("copy"), st.sampled_from([1, 100, 10_000])),
        st.tuples(st.just("follow"), st.sampled_from([1, 100, 10_000])),
        st.tuples(st.just("interrupt"), st.none()),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("flush"), st.none()),
        st.tuples(st.just("read"), st.none()),
        st.tuples(st.just("own"), owned),
        st.tuples(st.just("stage"), owned),
        st.tuples(st.just("absorb"), st.lists(st.sampled_from(KEYS), max_size=3, unique=True)),
        st.tuples(st.just("unstage"), st.none()),
    ),
    min_size=10,
    max_size=60,
)
some_ranges = st.sampled_from([None, None, ((0, SLOTS // 2),), ((0, 1_000_000), (4_000_000, SLOTS))])


def do(following: Following, what: str, how: object, dropped: set[int]) -> None:
    """Do one step to the source, or with what follows it."""
    bench = following.source
    store = bench.store
    if what == "apply":
        assert isinstance(how, list)
        bench.result(store.apply([task(run) for run in how], PLENTY, PLENTY))
    elif what == "indexes":
        assert isinstance(how, dict)
        wanted = {name: number for name, number in how.items() if number not in dropped}
        dropped |= set(INDEXES.values()) - {0} - set(wanted.values()) & dropped
        bench.result(store.set_indexes(wanted))
        dropped.update({1, 2} - set(wanted.values()))
    elif what == "remember":
        assert isinstance(how, bytes)
        bench.result(store.remember(how))
    elif what == "wait":
        assert isinstance(how, float)
        bench.clock.advance(how)
    elif what == "sweep":
        assert isinstance(how, int)
        bench.result(store.sweep(how))
    elif what == "copy":
        assert isinstance(how, int)
        following.copy(how)
    elif what == "follow":
        assert isinstance(how, int)
        following.catch_up(how)
    elif what == "interrupt":
        following.interrupted()
    elif what == "restart":
        if bench.durable:
            bench.killed = bool(how)
            bench.restart()
            following.interrupted()
    elif what == "flush":
        if isinstance(store, LmdbStore) and bench.kind != "lmdb with a thread":
            store._engine.flush_all()
    elif what in ("own", "stage", "absorb", "unstage"):
        change_ranges(bench, what, how)
    else:
        before = store.sequence
        bench.page()
        bench.answers(*read_runs())
        assert store.sequence == before


def change_ranges(bench: Bench, what: str, how: object) -> None:
    """Have the source own other ranges, or copy some of a third store; what can't be changes nothing."""
    store, before, sequence = bench.store, bench.store.ranges, bench.store.sequence
    try:
        if what == "own":
            bench.result(store.own(how))  # type: ignore[arg-type]  # ranges
        elif what == "stage":
            free = without(EVERYTHING, union(before.owned, before.hidden))
            bench.result(store.stage("m", common(how, free), THIRD))  # type: ignore[arg-type]  # ranges
        elif what == "absorb":
            assert isinstance(how, list)
            staging = before.staged.get("m")
            done = staging.origin.sequence if staging else 0
            changes = [Change(0, slot_of(key), key, 5 + done, 0, ONE) for key in how]
            bench.result(store.absorb_staged("m", ChangeGroup(1, 0, 5 + done, changes), done + 1, PLENTY))
        else:
            bench.result(store.unstage("m"))
    except BadRequest:
        assert (store.ranges, store.sequence) == (before, sequence)


def read_runs() -> list[Run]:
    """Runs that change nothing."""
    return [Pop("", [b"never there"]), Touch("", [b"never there"], [1])]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["memory", "lmdb with a small map", "lmdb"]),
    st.sampled_from(["memory", "lmdb with a small map"]),
    steps,
    some_ranges,
)
def test_a_copy_and_all_groups_behind_it(
    kind: str, target_kind: str, todo: list[tuple[str, object]], ranges: SlotRanges | None
) -> None:
    """The target has the same records, versions, expiries, indexes, text and ranges, and counts the same."""
    with folder() as path:
        following = Following(kind, target_kind, path, ranges)
        dropped: set[int] = set()
        following.source.result(following.source.store.set_indexes({"pages": 1, "links": 2}))
        for what, how in todo:
            do(following, what, how, dropped)
        following.catch_up()
        source, target = following.source, following.target
        for bench in (source, target):
            sweep_dropped(bench)
        found, expected = everything(target), everything(source, ranges)
        assert found[:4] == expected[:4]
        assert found[4] >= expected[4]
        if ranges is None:
            assert found[5:] == expected[5:]
        for bench in (source, target):
            if isinstance(bench.store, LmdbStore):
                check_consistent(bench.store)
        target.result(target.store.unstage("m"))
        target.result(target.store.own(()))
        target.sweep()
        target.result(target.store.own(EVERYTHING))
        target.fill({b"new": b""})
        assert target.version(b"new") > expected[4]
        following.close()
