"""The compiled twins for dicts of records, for what lies in LMDB and for boxes: each gives what the plain one gives, or
leaves it to it.
"""

from __future__ import annotations

import sys
import sysconfig
from random import Random

import pytest
from compiled_twins import built
from hypothesis import example, given
from hypothesis import strategies as st

from pyshard.compiled import box_leaves, dict_leaves, lmdb_leaves
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.apply_boxes import apply_bytes
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.boxes import LONGEST_VALUE, Box, BoxBreach, Limits, parse_plainly, prefixed, serialize
from pyshard.storage import dict_values
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.memory import dict_lookups, dict_updates

stored = st.binary(max_size=40)

#: Whether it is known how dicts of this interpreter lie in memory.
KNOWN_DICTS = (
    sys.implementation.name == "cpython"
    and sys.version_info < (3, 14)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and "gcc" in str(sysconfig.get_config_var("CC"))
)

# ---------------------------------------------------------------------- dicts of records

short = st.binary(max_size=3)


@built
@given(st.dictionaries(short, st.binary(min_size=1, max_size=9)), st.lists(short))
def test_found_values(records: dict[bytes, bytes], others: list[bytes]) -> None:
    """All values where all keys are there and the values have room; nothing where one isn't, or they have none."""
    for keys in (list(records), [*records, *others], [*records] * 2):
        size = sum(len(records.get(key, b"")) for key in keys)
        for room in (0, size, size + 1):
            expected = dict_lookups.found_values_plainly(records, keys, room)
            assert dict_leaves.found_values(records, keys, room) == expected
            assert (expected is not None) == (records.keys() >= set(keys) and room > size)


@built
@given(st.dictionaries(short, st.binary(min_size=1, max_size=9)), st.lists(short))
def test_values_of(records: dict[bytes, bytes], keys: list[bytes]) -> None:
    """The values of keys, and None for those that aren't there."""
    for some in (keys, list(records), tuple(keys)):
        assert dict_leaves.values_of(records, some) == dict_values.values_of_plainly(records, some)


@built
@given(st.dictionaries(short, st.binary(min_size=1, max_size=9)), st.lists(short))
def test_has_all(records: dict[bytes, bytes], keys: list[bytes]) -> None:
    """Whether all keys are there."""
    for some in (keys, list(records), []):
        assert dict_leaves.has_all(records, some) is dict_lookups.has_all_plainly(records, some)


@built
@given(
    st.dictionaries(short, st.tuples(stored, st.integers(0, 3) | st.integers(0, 2**64 - 1))),
    st.dictionaries(short, st.tuples(stored, st.integers(0, 2**64 - 1))),
    st.integers(0, 3) | st.integers(0, 2**64 - 1),
)
def test_put_values(
    values: dict[bytes, tuple[bytes, int]], changes: dict[bytes, tuple[bytes, int]], newest: int
) -> None:
    """New keys and keys that are there get the same values in the same order, and count the same."""
    before = {key: VERSION.pack(version) + record for key, (record, version) in values.items()}
    keys, new, versions = (
        list(changes),
        [new for new, _ in changes.values()],
        [number for _, number in changes.values()],
    )
    ours, theirs = dict(before), dict(before)
    found = dict_leaves.put_values(ours, keys, new, versions, newest)
    assert found == dict_updates.put_values_plainly(theirs, keys, new, versions, newest)
    assert found[2] == {
        place: before[key] for place, key in enumerate(keys) if newest and key in before and values[key][1] <= newest
    }
    assert list(ours.items()) == list(theirs.items())
    assert found[0] == sum(map(len, ours.values())) - sum(map(len, before.values())) - 8 * len(found[1])


@built
@pytest.mark.parametrize("count", [100, 5_000, 100_000])
def test_many_keys(count: int) -> None:
    """Of a dict of any size keys are fetched ahead, also when some are gone; what is found is the same."""
    random = Random(count)
    numbers = [b"%d" % random.getrandbits(60) for _ in range(count)]
    records = dict.fromkeys(numbers, b"value")
    for _ in range(3):
        for key in random.sample(list(records), count // 10):
            del records[key]
        for keys in (random.sample(list(records), 70), random.sample(numbers, 70)):
            there = [key for key in keys[:64] if key in records]
            fetched = dict_leaves.prefetched(records, keys)
            assert fetched > len(there) * 0.6 or not KNOWN_DICTS
            assert dict_leaves.values_of(records, keys) == dict_values.values_of_plainly(records, keys)
            assert dict_leaves.found_values(records, keys, 9999) == dict_lookups.found_values_plainly(
                records, keys, 9999
            )
            assert dict_leaves.has_all(records, keys) is dict_lookups.has_all_plainly(records, keys)
        ours, theirs = dict(records), dict(records)
        changes = (numbers[:90], [b"new"] * 90, range(90))
        assert dict_leaves.put_values(ours, *changes) == dict_updates.put_values_plainly(theirs, *changes)
        assert list(ours.items()) == list(theirs.items())


@built
def test_what_is_not_fetched_ahead() -> None:
    """An empty dict, one of texts, and keys of another type."""
    texts: dict[object, object] = {"a": 1}
    for records, keys in (({}, [b"a"]), (texts, ["a"]), ({b"a": b"1"}, ["a"]), ({b"a": b"1"}, [])):
        assert not dict_leaves.prefetched(records, keys)  # type: ignore[arg-type]  # the test's point


@built
def test_columns_of_values_that_are_uneven() -> None:
    """Are refused before anything is stored."""
    records: dict[bytes, bytes] = {}
    for keys, new, versions in (([b"a"], [b""], []), ([b"a"], [], [1]), ([], [b""], [1])):
        for put_values in (dict_leaves.put_values, dict_updates.put_values_plainly):
            with pytest.raises(ValueError, match=r"more|longer|shorter"):
                put_values(records, keys, new, versions)
    assert not records


# ---------------------------------------------------------------------- what lies in LMDB


def view_of(value: bytes) -> memoryview:
    """A view, as LMDB gives them."""
    return memoryview(value)


@built
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), stored)), st.integers(0, 2**32 - 1))
def test_database_keys(pairs: list[tuple[int, bytes]], index: int) -> None:
    """The database keys of any slots and keys."""
    slots, keys = [slot for slot, _ in pairs], [key for _, key in pairs]
    assert lmdb_leaves.database_keys(index, slots, keys) == lmdb_encoding.database_keys_plainly(index, slots, keys)


@built
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), stored)))
def test_stored_values(pairs: list[tuple[int, bytes]]) -> None:
    """The values of any versions and records."""
    versions, records = [version for version, _ in pairs], [record for _, record in pairs]
    assert lmdb_leaves.stored_values(versions, records) == lmdb_encoding.pack_many_plainly(versions, records)


@built
@given(
    st.lists(st.none() | stored | stored.map(view_of)),
    st.integers(-1, 90),
    st.integers(0, 9),
    st.integers(0, 50),
)
def test_stored_results(values: list[bytes | memoryview | None], room: int, kept: int, begin: int) -> None:
    """The results of any values, also of such as are too short."""
    expected = lmdb_encoding.results_plainly(values, room, kept, begin)
    assert lmdb_leaves.stored_results(values, room, kept, begin) == expected


keys_of_rows = st.binary(max_size=12) | st.builds(
    lmdb_encoding.database_key,
    st.integers(0, 2**32 - 1),
    st.integers(0, SLOTS + 1),
    st.binary(max_size=5) | st.binary(min_size=502, max_size=503),
)
numbers = st.sampled_from([0, 1, 2**63 - 1, 2**63]) | st.integers(0, 2**64 - 1)
values_of_rows = st.binary(max_size=20) | st.tuples(numbers, numbers, st.binary(max_size=9)).map(
    lambda row: row[0].to_bytes(8, "big") + row[1].to_bytes(8, "big") + row[2]
)


@built
@given(st.dictionaries(keys_of_rows, values_of_rows, max_size=3))
def test_are_short_rows(records: dict[bytes, bytes]) -> None:
    """It says yes to rows that a store can have, as long as none is that of a long key, or removed."""
    plain = all(
        lmdb_encoding.is_row(key, value) and not lmdb_encoding.is_long(key) and bool(value)
        for key, value in records.items()
    )
    assert lmdb_leaves.are_short_rows(records, SLOTS) == plain


@built
@given(st.lists(values_of_rows.filter(lambda value: len(value) >= 16)))
def test_expiring(values: list[bytes]) -> None:
    """As many of many values have an expiry, in bytes and in views."""
    assert lmdb_leaves.expiring(values) == lmdb_encoding.expiring_plainly(values)
    assert lmdb_leaves.expiring(list(map(view_of, values))) == lmdb_encoding.expiring_plainly(values)


@built
def test_what_lmdb_does_not_take() -> None:
    """A number that has no room where it belongs, and what is no bytes, is refused by its type or size."""
    for index, slot in ((2**32, 0), (0, 2**32), (0, -1)):
        with pytest.raises(OverflowError):
            lmdb_leaves.database_keys(index, [slot], [b"k"])
    for nothing in (None, "text"):
        with pytest.raises(TypeError):
            lmdb_leaves.database_keys(0, [0], [nothing])  # type: ignore[list-item]  # the test's point
        with pytest.raises(TypeError):
            lmdb_leaves.stored_values([0], [nothing])  # type: ignore[list-item]  # the test's point
    with pytest.raises(TypeError):
        lmdb_leaves.stored_results(["text"], 9, 8, 16)  # type: ignore[list-item]  # the test's point
    with pytest.raises(ValueError, match="16 bytes at the least, not 15"):
        lmdb_leaves.expiring([bytes(15)])
    for records in ({None: b""}, {b"": None}, {"text": b""}, {b"": "text"}):
        with pytest.raises(TypeError):
            lmdb_leaves.are_short_rows(records, SLOTS)  # type: ignore[arg-type]  # the test's point


# ---------------------------------------------------------------------- boxes

boxes = st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=300), min_size=1, max_size=5)


def only_box(data: bytes, limits: Limits) -> Box | None:
    """The box that bytes are, by the plain parser; None: they are none, or not one alone."""
    try:
        (box,) = parse_plainly(data, limits)
    except (BoxBreach, ValueError):
        return None
    # What was left over may begin the next box, and a key may have come twice: the size alone tells.
    return box if _end(data) == len(data) else None


def _end(data: bytes) -> int:
    """Where the first box in some bytes ends."""
    at = 0
    while key := int.from_bytes(data[at : at + 2], "big"):
        at += 2 + key
        at += 2 + int.from_bytes(data[at : at + 2], "big")
    return at + 2


@built
@given(boxes, st.integers(0, 6), st.integers(0, 900), st.integers(0, 900), st.binary(max_size=3))
@example({b"k": b"v"}, 1, 8, 0, b"")
@example({b"k": b"v"}, 0, 8, 0, b"")
@example({b"k": b"v"}, 1, 7, 0, b"")
def test_whole_boxes(box: Box, keys: int, size: int, cut: int, more: bytes) -> None:
    """One whole box is found, also damaged and within limits; a part, or more than one, isn't."""
    data = serialize(box)
    for changed in (
        data,
        data + more,
        data[: cut % len(data)],
        data[: cut % len(data)] + more + data[cut % len(data) :],
    ):
        assert box_leaves.whole_box(changed, keys, size) == only_box(changed, Limits(keys=keys, size=size))
        assert box_leaves.whole_box(changed, 9, 10_000) == only_box(changed, Limits(keys=9, size=10_000))


chunk_names = st.sampled_from(
    [b"a", b"a.0", b"a.1", b"a.2", b"a.10", b"a.00", b"b", b"b.0", b"b.0.0", b"b.0.1", b".0", b"c"]
)
chunk_values = st.sampled_from(
    [b"0", b"1", b"2", b"3", b"02", b"2x", b"11", b"999", b"1000", b"", b"chunk", bytes(300)]
)


@built
@given(st.lists(st.tuples(chunk_names, chunk_values), max_size=8), st.integers(0, 8), st.booleans())
@example([(b"a", b"2"), (b"a.0", b"x"), (b"a.1", b"y"), (b"c", b"2")], 4, True)
@example([(b"a", b"2"), (b"a.0", b"x"), (b"a.1", b"y"), (b"a.1", b"z")], 4, True)
@example([(b"a", b"11"), *((b"a.%d" % number, b"%d" % number) for number in range(11))], 0, True)
def test_whole_boxes_with_chunks(pairs: list[tuple[bytes, bytes]], place: int, large: bool) -> None:
    """In a large box the chunks of an argument stand in one; what is out of order is left to the plain parser."""
    filled = [*pairs[:place], (b"long", bytes(LONGEST_VALUE if large else 9)), *pairs[place:]]
    data = b"".join(prefixed(key) + prefixed(value) for key, value in filled) + b"\0\0"
    found = box_leaves.whole_box(data, 20, 10**6)
    assert found in (None, only_box(data, Limits(keys=20, size=10**6)))
    assert box_leaves.whole_box(data, len(filled) - 1, 10**6) is None
    assert box_leaves.whole_box(data, 20, len(data) - 1) is None


@built
@given(st.integers(1, 12 * LONGEST_VALUE), st.binary(min_size=1, max_size=9))
def test_a_batch_in_chunks(size: int, tag: bytes) -> None:
    """The box of a large batch is found at once, with the batch in one chunk."""
    batch = bytes(size)
    found = box_leaves.whole_box(apply_bytes(7, batch, tag), 320, 2**20)
    assert found == {b"epoch": b"7", b"batch": b"1", b"batch.0": batch, b"_command": b"Apply", b"_ask": tag}


@built
def test_a_key_that_comes_twice() -> None:
    """Each pair counts, and the last one stays."""
    data = b"\0\1k\0\1x\0\1k\0\1y\0\0"
    assert box_leaves.whole_box(data, 2, 100) == {b"k": b"y"}
    assert box_leaves.whole_box(data, 1, 100) is None
