"""How records lie in LMDB, by value, as docs/storage.md has it."""

from __future__ import annotations

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from pyshard.protocol.change_groups import Change
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.log_changes import change_value
from pyshard.storage.store_index import StoredRecord

KEYS = st.binary(max_size=lmdb_encoding.LONGEST + 50) | st.binary(
    min_size=lmdb_encoding.LONGEST - 2, max_size=lmdb_encoding.LONGEST + 2
)
NUMBERS = st.integers(0, 2**63)


def test_short_key() -> None:
    """Index, slot, 0, key; version, expiry, record."""
    assert lmdb_encoding.database_key(3, 1671936, b"test") == b"\x00\x00\x00\x03" + b"\x00\x19\x83\x00" + b"\x00test"
    packed = lmdb_encoding.pack(b"test", StoredRecord(5, 7, b"record"))
    assert packed == bytes(7) + b"\x05" + bytes(7) + b"\x07" + b"record"


def test_long_key() -> None:
    """Index, slot, 1, digest; version, expiry, the key's length, the key, record."""
    key = b"k" * (lmdb_encoding.LONGEST + 1)
    digest = blake2b(key, digest_size=32).digest()
    assert lmdb_encoding.database_key(0, 1, key) == bytes(7) + b"\x01" + b"\x01" + digest
    assert (
        lmdb_encoding.pack(key, StoredRecord(1, 0, b"r"))
        == bytes(7) + b"\x01" + bytes(8) + b"\x00\x00\x01\xf7" + key + b"r"
    )


def test_longest_key_fits() -> None:
    """No database key is past LMDB's 511 bytes."""
    assert len(lmdb_encoding.database_key(2**32 - 1, 9_999_999, b"k" * lmdb_encoding.LONGEST)) == 511


@given(KEYS, NUMBERS, NUMBERS, st.binary(max_size=50))
def test_round_trip(key: bytes, version: int, expires: int, record: bytes) -> None:
    """What was packed is unpacked, with its key and its expiry."""
    found = StoredRecord(version, expires, record)
    db_key, value = lmdb_encoding.database_key(1, 2, key), memoryview(lmdb_encoding.pack(key, found))
    assert lmdb_encoding.unpack(key, value) == found
    assert lmdb_encoding.whole_key(memoryview(db_key), value) == key
    assert lmdb_encoding.expiry_of(value) == expires


@given(st.tuples(st.integers(0, 5), st.integers(0, 9_999_999)), st.tuples(st.integers(0, 5), st.integers(0, 9_999_999)))
def test_order_is_index_then_slot(one: tuple[int, int], other: tuple[int, int]) -> None:
    """A hash range of an index lies together, in slot order."""
    assert (lmdb_encoding.database_key(*one, b"k") < lmdb_encoding.database_key(*other, b"k")) == (one < other)


def test_another_key_with_the_same_digest_is_not_found() -> None:
    """The whole key is compared: the value of another key with the same digest isn't found."""
    mine, other = b"a" * 600, b"b" * 600
    value = memoryview(lmdb_encoding.pack(other, StoredRecord(1, 0, b"theirs")))
    assert lmdb_encoding.unpack(mine, value) is None
    assert lmdb_encoding.unpack(other, value) == StoredRecord(1, 0, b"theirs")


def test_a_longer_key_that_begins_alike_is_not_found() -> None:
    """The value of a longer key with the same beginning isn't found."""
    value = memoryview(lmdb_encoding.pack(b"a" * 601, StoredRecord(1, 0, b"r")))
    assert lmdb_encoding.unpack(b"a" * 600, value) is None


def test_expiry_entries_sort_by_time() -> None:
    """Entries are in order of expiry, and each is due from its millisecond on."""
    first, second = lmdb_encoding.expiry_key(1000, b"z"), lmdb_encoding.expiry_key(1001, b"a")
    assert first < second
    assert [lmdb_encoding.is_due(first, now) for now in (999, 1000, 1001)] == [False, True, True]
    assert len(first) == 24


@given(KEYS, st.integers(0, 5))
def test_live_until_its_expiry(key: bytes, expires: int) -> None:
    """A value is live up to its expiry, for ever without one, and never as that of another long key."""
    value = memoryview(lmdb_encoding.pack(key, StoredRecord(1, expires, b"record")))
    assert [lmdb_encoding.is_live(key, value, now) for now in range(7)] == [
        not expires or now < expires for now in range(7)
    ]
    if len(key) > lmdb_encoding.LONGEST:
        assert not lmdb_encoding.is_live(key[:-1] + bytes([key[-1] ^ 1]), value, 0)


# -- columns, and their plain twins ---------------------------------------------------------------------------------

SHORT_KEYS = st.binary(max_size=lmdb_encoding.LONGEST)
SLOTS = st.integers(0, 9_999_999)
stored_records = st.builds(StoredRecord, NUMBERS, NUMBERS, st.binary(max_size=50))


@given(st.lists(st.tuples(SLOTS, SHORT_KEYS)), st.integers(0, 2**32 - 1))
def test_database_keys(pairs: list[tuple[int, bytes]], index: int) -> None:
    """`database_keys` gives what `database_key` gives for each, compiled or not."""
    slots, keys = [slot for slot, _ in pairs], [key for _, key in pairs]
    expected = [lmdb_encoding.database_key(index, slot, key) for slot, key in pairs]
    assert lmdb_encoding.database_keys(index, slots, keys) == expected
    assert lmdb_encoding.database_keys_plainly(index, slots, keys) == expected


@given(st.lists(st.tuples(SHORT_KEYS, NUMBERS, st.binary(max_size=50))))
def test_pack_many(written: list[tuple[bytes, int, bytes]]) -> None:
    """`pack_many` gives what `pack` gives for each, without expiry, compiled or not."""
    versions, records = [version for _, version, _ in written], [record for _, _, record in written]
    expected = [lmdb_encoding.pack(key, StoredRecord(version, 0, record)) for key, version, record in written]
    assert lmdb_encoding.pack_many(versions, records) == expected
    assert lmdb_encoding.pack_many_plainly(versions, records) == expected


@given(st.lists(st.none() | st.tuples(SHORT_KEYS, stored_records)), st.integers(0, 300), st.booleans())
def test_results(pairs: list[tuple[bytes, StoredRecord] | None], room: int, views: bool) -> None:
    """`results` gives the version and the record that `unpack` finds, as long as there is room, compiled or not."""
    values: list[bytes | memoryview | None] = []
    expected: list[bytes | None] = []
    left = room
    for pair in pairs:
        value = None if pair is None else memoryview(lmdb_encoding.pack(*pair))
        values.append(value if views or value is None else bytes(value))
        if left > 0:
            found = None if pair is None or value is None else lmdb_encoding.unpack(pair[0], value)
            expected.append(None if found is None else found.version.to_bytes(8, "big") + found.record)
            left -= len(expected[-1] or b"")
    assert lmdb_encoding.results(iter(values), room) == expected
    assert lmdb_encoding.results_plainly(iter(values), room, 8, 16) == expected


def test_results_look_at_no_more_than_has_room() -> None:
    """Once the room is full, the next value isn't even looked for."""
    value = lmdb_encoding.pack(b"k", StoredRecord(1, 0, b"r"))
    for make in (lmdb_encoding.results, lambda values, room: lmdb_encoding.results_plainly(values, room, 8, 16)):
        values = iter([value] * 3)
        assert len(make(values, 9)) == 1
        assert len(list(values)) == 2
        assert make(iter([value]), 0) == []


@given(st.lists(st.tuples(KEYS, stored_records)))
def test_bytes_of_many(pairs: list[tuple[bytes, StoredRecord]]) -> None:
    """Bytes of many keys and records are the sum of those of each, which are as long as they are."""
    db_keys = [lmdb_encoding.database_key(0, 0, key) for key, _ in pairs]
    values = [lmdb_encoding.pack(key, stored) for key, stored in pairs]
    each = list(map(lmdb_encoding.bytes_of, db_keys, values))
    assert each == [len(key) + len(stored.record) for key, stored in pairs]
    assert lmdb_encoding.bytes_of_many(db_keys, sum(map(len, values))) == sum(each)


@given(st.lists(st.none() | st.tuples(SHORT_KEYS, stored_records)))
def test_bytes_of_records(pairs: list[tuple[bytes, StoredRecord] | None]) -> None:
    """Bytes of many records are the sum of those of each; what isn't there has none."""
    sizes = lmdb_encoding.sizes_of_values(None if pair is None else lmdb_encoding.pack(*pair) for pair in pairs)
    assert [size == 0 for size in sizes] == [pair is None for pair in pairs]
    assert lmdb_encoding.bytes_of_records(sizes) == sum(len(pair[1].record) for pair in pairs if pair)


@given(st.lists(st.tuples(KEYS, stored_records | st.builds(StoredRecord, NUMBERS, st.just(0), st.binary(max_size=50)))))
def test_expiring(pairs: list[tuple[bytes, StoredRecord]]) -> None:
    """As many of many records expire as have an expiry, in bytes and in views of them."""
    values = [lmdb_encoding.pack(key, stored) for key, stored in pairs]
    expected = sum(1 for value in values if lmdb_encoding.expiry_of(value))
    assert lmdb_encoding.expiring(values) == expected
    assert lmdb_encoding.expiring([memoryview(value) for value in values]) == expected


@given(st.dictionaries(KEYS, st.none() | st.binary(max_size=50)))
def test_are_rows(records: dict[bytes, bytes | None]) -> None:
    """Whatever a store has put or removed is a row of a log."""
    rows: dict[bytes, bytes] = {}
    for slot, (key, record) in enumerate(records.items()):
        change = Change(3, slot, key, 0 if record is None else 7, 0, record)
        rows[lmdb_encoding.database_key(3, slot, key)] = change_value(change)
    assert lmdb_encoding.are_rows(rows)
