"""An index of a store in memory as it was at one moment: the same, whatever is done to the store while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs
import pytest
from deferreds import result
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Remove, Run, Touch, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.pages import Row
from pyshard.storage import ICopy, ISnapshot, MemoryStore, Task
from pyshard.storage.memory import index_at_moment
from pyshard.storage.memory.index_at_moment import IndexAtMoment
from pyshard.storage.memory.slot_index import SlotIndex
from pyshard.storage.snapshot import Snapshot, StoreCopy

PLENTY = 1 << 40
KEYS = [b"%d" % number for number in range(12)]
INDEXES = {"": 0, "pages": 1, "links": 2}
RANGES = ((0, SLOTS // 3), (SLOTS // 2, SLOTS))

index_names = st.sampled_from(list(INDEXES))
columns = st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=6)
ttls = st.sampled_from([0, 500, 2000])

#: What may happen to a store: a name, and what it needs.
steps = st.one_of(
    st.tuples(st.just("write"), index_names, columns, ttls),
    st.tuples(st.just("remove"), index_names, columns, ttls),
    st.tuples(st.just("touch"), index_names, columns, ttls),
    st.tuples(st.just("absorb"), index_names, columns, ttls),
    st.tuples(st.sampled_from(["drop", "sweep", "pass", "open", "copy", "follow", "read"]), index_names, columns, ttls),
)


class Reader:
    """A snapshot, or a copy, that is read a step at a time.

    :param opened: which.
    :param expected: what it is to give, in order.
    """

    def __init__(self, opened: ISnapshot | ICopy, expected: list[Row | Change]) -> None:
        self.opened = opened
        self.expected = expected
        self.found: list[Row | Change] = []
        self.count: int | None = None

    def step(self) -> bool:
        """Count, or read, a little more; whether there may be more."""
        if isinstance(self.opened, Snapshot) and not isinstance(self.opened, StoreCopy) and self.count is None:
            self.count = self.opened.count(2)
            return True
        page = self.opened.page(PLENTY, 2)
        self.found += page or []
        return page != []


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few records are looked at together."""
    with monkeypatch.context() as patched:
        patched.setattr(index_at_moment, "_SLICE", 3)
        yield


def in_order(found: Iterable[Row | Change]) -> list[Row | Change]:
    """Records in the order of index and key."""
    return sorted(found, key=lambda one: (one.index, one.key))


def rows_now(store: MemoryStore, now: int) -> list[Row | Change]:
    """What a snapshot that is opened now is to give."""
    return in_order(
        Row(number, key, index.expiries.get(key, 0), value[VERSION.size :])
        for number, index in store._indexes.items()
        for key, value in index.records.items()
        if not 0 < index.expiries.get(key, 0) <= now
    )


def changes_now(store: MemoryStore) -> list[Row | Change]:
    """What a copy of `RANGES` that is made now is to give."""
    return in_order(
        Change(number, index.slot_of(key), key, VERSION.unpack_from(value)[0], index.expiries.get(key, 0), value[8:])
        for number, index in store._indexes.items()
        for key, value in index.records.items()
        if any(start <= index.slot_of(key) < end for start, end in RANGES)
    )


def apply(store: MemoryStore, index: str, run: Run) -> None:
    """Apply one run, if the index is there."""
    number = INDEXES[index]
    slots = [slot_of(key, index.encode()) for key in run.keys]
    result(store.apply([Task(run, number, slots)], PLENTY, PLENTY))


def absorb(store: MemoryStore, index: int, keys: list[bytes], at: int, ttl: int) -> None:
    """Take records from elsewhere: with versions that were long ago, or are still to come; or that they are removed."""
    version = {0: 1 + at, 500: 2 * 10**9, 2000: 0}[ttl]
    names = {0: b"", 1: b"pages", 2: b"links"}
    changes = [
        Change(index, slot_of(key, names[index]), key, version, ttl, b"%d" % at if version else None) for key in keys
    ]
    result(store.absorb(ChangeGroup(1, 0, 1, changes)))


@settings(max_examples=100)
@given(st.lists(steps, max_size=60))
def test_whatever_happens(steps: list[tuple[str, str, list[bytes], int]]) -> None:
    """Each snapshot and copy gives what the store had when it was opened, and counts that, whatever is done between."""
    clock = Clock()
    clock.advance(1000)
    store = MemoryStore("1d", clock.seconds)
    named = {"pages": 1, "links": 2}
    result(store.set_indexes(named))
    readers: list[Reader] = []
    for at, (what, index, keys, ttl) in enumerate(steps):
        lives = [ttl] * len(keys) if ttl else None
        if what == "write":
            apply(store, index, Write("", keys, [b"%d" % at] * len(keys), None, lives))
        elif what == "remove":
            apply(store, index, Remove("", keys))
        elif what == "touch":
            apply(store, index, Touch("", keys, [ttl] * len(keys)))
        elif what == "absorb":
            absorb(store, INDEXES[index], keys, at, ttl)
        elif what == "drop" and index:
            named.pop(index, None)  # for good: an index that was dropped is refused
            result(store.set_indexes(named))
        elif what == "sweep":
            result(store.sweep(2))
        elif what == "pass":
            clock.advance(0.4)
        elif what == "open":
            readers.append(Reader(store.snapshot(), rows_now(store, int(clock.seconds() * 1000))))
        elif what == "copy":
            copy = result(store.copy("follower", RANGES))
            readers.append(Reader(copy, changes_now(store)))
        elif what == "follow":
            store.forget("follower")
        elif readers:
            readers[at % len(readers)].step()
    for reader in readers:
        while reader.step():
            pass
        assert in_order(reader.found) == reader.expected
        assert reader.count in (None, len(reader.expected))
        assert reader.opened.pinned == 0
        reader.opened.close()
    assert not any(index._watchers for index in [*store._indexes.values(), *store._dropped])


@attrs.frozen
class Tables:
    """The dicts of an index without expiries."""

    records: Mapping[bytes, bytes]
    expiries: Mapping[bytes, int] = {}


class CountingDict(Mapping[bytes, bytes]):
    """A dict that counts how often it is asked."""

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self._found = found
        self.asked = 0

    def __getitem__(self, key: bytes) -> bytes:
        self.asked += 1
        return self._found[key]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("nobody looks at all records")


def test_each_step_looks_at_few_records() -> None:
    """To make one looks at nothing; each record that is taken has at most a slice of them looked at."""
    keys = [b"%d" % number for number in range(1000)]
    records = CountingDict({key: VERSION.pack(1) + key for key in keys})
    slot_index = SlotIndex(slot_of, records)
    slot_index.add(map(slot_of, keys), keys)
    moment = IndexAtMoment(Tables(records), slot_index, 1)
    assert records.asked == 0
    before, given = 0, 0
    for one in moment.found():
        given += one is not None
        assert records.asked - before <= 2 * 3  # is it there, and what is it?
        before = records.asked
    assert given == 1000


def test_slots_that_are_not_wanted_are_not_looked_at() -> None:
    """A few slots of a large index are found at once, whatever lies before, between and behind them."""
    keys = [b"%d" % number for number in range(1000)]
    records = {key: VERSION.pack(1) + key for key in keys}
    slot_index = SlotIndex(slot_of, records)
    slot_index.add(map(slot_of, keys), keys)
    for ranges in (((0, 200_000), (3_000_000, 3_100_000), (9_900_000, SLOTS)), ((5, 6),), ((2_000_000, 9_000_000),)):
        found = list(IndexAtMoment(Tables(records), slot_index, 1, ranges=ranges).found())
        assert [one[0] for one in found if one] == sorted(
            (key for key in keys if in_ranges(slot_of(key), ranges)), key=slot_of
        )
        assert found.count(None) <= len(ranges) + 1


def test_what_has_nothing_is_a_step() -> None:
    """To look for a range takes a moment, though nothing is there. An index without records has none to look at."""
    records = {b"a": VERSION.pack(1) + b"a"}
    slot_index = SlotIndex(slot_of, records)
    slot_index.add([slot_of(b"a")], [b"a"])
    ranges = tuple((10_000 * number, 10_000 * number + 1) for number in range(900))
    assert (
        list(IndexAtMoment(Tables(records), slot_index, 1, ranges=ranges).found()).count(None) == 900 + 1
    )  # one for the end
    empty: dict[bytes, bytes] = {}
    moment = IndexAtMoment(Tables(empty), SlotIndex(slot_of, empty), 1, ranges=ranges)
    moment.keep(b"b", 10_000)
    assert list(moment.found()) == []
    assert moment.pinned == IndexAtMoment(Tables(empty), SlotIndex(slot_of, empty), 1).pinned


def test_what_expired_in_a_dropped_index_is_not_counted() -> None:
    """An index that is dropped while its expired records are being counted is counted all the same, and given."""
    clock = Clock()
    clock.advance(1000)
    store = MemoryStore("1d", clock.seconds)
    result(store.set_indexes({"pages": 1}))
    apply(store, "pages", Write("", KEYS[:7], [b"x"] * 7, None, [500] * 7))
    apply(store, "pages", Write("", KEYS[7:], [b"x"] * 5))
    clock.advance(1)
    reader = Reader(store.snapshot(), rows_now(store, 1_001_000))
    result(store.set_indexes({}))
    while reader.step():
        pass
    assert (reader.count, in_order(reader.found)) == (5, reader.expected)


def test_only_wanted_slots_are_kept() -> None:
    """A copy of some slots gives, and keeps, nothing of others, also of what changes meanwhile."""
    store = MemoryStore("1d", Clock().seconds)
    apply(store, "", Write("", KEYS, [b"x"] * len(KEYS)))
    copy = result(store.copy("follower", RANGES))
    reader = Reader(copy, changes_now(store))
    apply(store, "", Write("", KEYS, [b"y"] * len(KEYS)))
    while reader.step():
        pass
    assert in_order(reader.found) == reader.expected


def test_keys_that_come_together() -> None:
    """What comes in one batch isn't given: each of its keys is told of before any of them is there."""
    store = MemoryStore("1d", Clock().seconds)
    snapshot = store.snapshot()
    many = [b"%d" % number for number in range(1000)]
    apply(store, "", Write("", many, [b"1"] * len(many)))
    apply(store, "", Write("", many, [b"2"] * len(many)))
    assert snapshot.page(PLENTY) == []


def test_columns_beside_views_of_several_moments() -> None:
    """Views that were opened between columns of writes, and read in part, give what there was, each record once."""
    store = MemoryStore("1d", Clock().seconds)
    many, readers = [b"%d" % number for number in range(40)], []
    for at in range(0, 40, 8):
        apply(store, "", Write("", many[: at + 8], [b"%d" % at] * (at + 8)))
        readers.append(Reader(store.snapshot(), rows_now(store, 0)))
        for reader in readers:
            for _ in range(3):
                reader.step()
    apply(store, "", Write("", many, [b"last"] * 40))
    for reader in readers:
        while reader.step():
            pass
        assert in_order(reader.found) == reader.expected
