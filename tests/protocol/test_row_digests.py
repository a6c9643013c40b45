"""Digests of rows, by value."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from pyshard.errors import BadRequest
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, union
from pyshard.protocol.change_groups import Change
from pyshard.protocol.row_digests import (
    MOST_BUCKETS,
    BucketDigest,
    RowDigests,
    decode_buckets,
    decode_indexes,
    encode_buckets,
    encode_indexes,
    row_digest,
)

RANGES: SlotRanges = ((100, 200), (1000, 5000))
ROWS = [Change(n % 2, slot, b"key %d" % n, 50 + n, 7 * n, b"record") for n, slot in enumerate((100, 199, 1000, 4999))]


def buckets(rows: list[Change], ranges: SlotRanges = RANGES, indexes: frozenset[int] = frozenset({0, 1})) -> list[int]:
    """The buckets that some rows fall into."""
    digests = RowDigests(ranges, indexes)
    digests.add(rows)
    assert digests.rows == sum(bucket.rows for bucket in digests.buckets())
    return [number for number, bucket in enumerate(digests.buckets()) for _ in range(bucket.rows)]


def digest(rows: list[Change], ranges: SlotRanges = RANGES) -> list[BucketDigest]:
    """The digests of some rows."""
    digests = RowDigests(ranges, {0, 1})
    digests.add(rows)
    return digests.buckets()


def test_by_value() -> None:
    """What docs/protocol.md says, computed once with another program."""
    (found,) = [bucket for bucket in digest([Change(1, 1000, b"key", 258, 5, b"\0r")]) if bucket.rows]
    assert found == BucketDigest(1, bytes.fromhex("2c2be187874f0f83573eea7db5c2957e"))
    assert digest([])[0] == BucketDigest(0, bytes(16))


def test_buckets() -> None:
    """Slots are counted over all ranges, in their order; a bucket has equally many of them."""
    assert buckets(ROWS) == [0, 19, 20, 819]  # 5 slots a bucket
    assert len(digest([])) == 820
    assert buckets(ROWS[:1], ((100, 102),)) == [0]
    assert buckets([replace(ROWS[0], slot=101)], ((100, 102),)) == [1]
    everything = [replace(ROWS[0], slot=slot) for slot in (0, SLOTS - 1)]
    assert buckets(everything, EVERYTHING)[0] == 0
    for ranges in (RANGES, EVERYTHING, ((0, 1023),), ((0, 1024),), ((0, 1025),)):
        assert 0 < len(digest([], ranges)) <= MOST_BUCKETS
    assert buckets(ROWS, ((1000, 5000), (100, 150), (150, 200))) == buckets(ROWS)  # the same slots


def test_indexes() -> None:
    """Rows of other indexes don't count."""
    assert buckets(ROWS, indexes=frozenset({1})) == [19, 819]
    assert buckets(ROWS, indexes=frozenset()) == []


def test_order_does_not_matter() -> None:
    """However rows come, and in however many pieces."""
    random = Random(1)
    rows = [Change(0, random.randrange(1000, 5000), b"%d" % n, n, 0, b"r" * (n % 9)) for n in range(500)]
    shuffled = random.sample(rows, len(rows))
    pieces = RowDigests(RANGES, {0})
    pieces.add(shuffled[:100])
    pieces.add(shuffled[100:])
    assert pieces.difference(digest(rows)) == ""


@pytest.mark.parametrize("place", range(len(ROWS)))
@pytest.mark.parametrize(
    "other",
    [
        {"index": 1},
        {"index": 0},
        {"slot": 4000},
        {"key": b"key"},
        {"version": 51_000},
        {"expires": 51_000},
        {"record": b"other!"},
        {"record": b""},
        {"key": b"", "record": b"moved"},
    ],
    ids=str,
)
def test_any_difference_is_found(place: int, other: dict[str, object]) -> None:
    """Whatever differs in one row."""
    changed = [replace(row, **other) if number == place else row for number, row in enumerate(ROWS)]
    assert (digest(changed) == digest(ROWS)) == (changed == ROWS)


def test_rows_that_are_missing_or_additional() -> None:
    """One row less, one more, one twice, and two that have exchanged their records."""
    assert digest(ROWS[1:]) != digest(ROWS)
    assert digest([*ROWS, replace(ROWS[0], key=b"more")]) != digest(ROWS)
    assert digest([*ROWS, ROWS[0]]) != digest(ROWS)
    assert digest([*ROWS, ROWS[0], ROWS[0]]) != digest(ROWS)
    one, other = replace(ROWS[0], record=b"one"), replace(ROWS[0], key=b"other", record=b"other")
    assert digest([one, other]) != digest([replace(one, record=b"other"), replace(other, record=b"one")])
    assert digest([replace(one, key=b"ab", record=b"c")]) != digest([replace(one, key=b"a", record=b"bc")])


def test_difference_in_words() -> None:
    """It says where, and how many rows are there."""
    mine = RowDigests(RANGES, {0, 1})
    mine.add(ROWS)
    assert mine.difference(digest(ROWS)) == ""
    why = mine.difference(digest(ROWS[:1] + ROWS[2:]))
    assert why == "1 of 820 buckets differ, the first one of [1.95e-05, 2e-05): it has 1 rows here, 0 there"
    assert mine.difference(digest([])).startswith("4 of 820 buckets differ")
    with pytest.raises(BadRequest, match="found 819 buckets, expected 820"):
        mine.difference(digest(ROWS)[1:])


def test_buckets_that_differ() -> None:
    """Their numbers and slots; all buckets together have just the slots of the ranges."""
    mine = RowDigests(RANGES, {0, 1})
    mine.add(ROWS)
    assert mine.differing(digest(ROWS)) == []
    assert mine.differing(digest(ROWS[:1] + ROWS[2:])) == [19]
    assert mine.differing(digest([])) == [0, 19, 20, 819]
    assert [mine.slots_of(bucket) for bucket in (0, 19, 20, 819)] == [
        ((100, 105),),
        ((195, 200),),
        ((1000, 1005),),
        ((4995, 5000),),
    ]
    odd = RowDigests(((0, 1), (2000, 4000)), {0})
    assert union(*map(odd.slots_of, range(len(odd.buckets())))) == ((0, 1), (2000, 4000))
    assert sum(end - start for number in range(len(odd.buckets())) for start, end in odd.slots_of(number)) == 2001


def test_digest_of_a_row() -> None:
    """It is that of a bucket which has no other row."""
    for row in ROWS:
        (found,) = [bucket for bucket in digest([row]) if bucket.rows]
        assert found.digest == row_digest(row)


def test_a_bucket_of_two_ranges() -> None:
    """The text has the slots of both."""
    mine = RowDigests(((0, 1000), (2000, 3000)), {0})
    mine.add([Change(0, 2000, b"key", 1, 0, b"")])
    why = mine.difference(digest([], ((0, 1000), (2000, 3000))))
    assert why.startswith(
        "1 of 1,000 buckets differ, the first one of [0.0002, 0.0002002): it has 1 rows here, 0 there"
    )
    odd = RowDigests(((0, 1), (2000, 4000)), {0})
    odd.add([Change(0, 0, b"key", 1, 0, b"")])
    assert "[0.0, 1e-07), [0.0002, 0.0002001)" in odd.difference(digest([], ((0, 1), (2000, 4000))))


def test_on_the_wire() -> None:
    """What is sent is what is read."""
    assert decode_buckets(encode_buckets(digest(ROWS))) == digest(ROWS)
    assert decode_indexes(encode_indexes({5, 0})) == {0, 5}
    assert msgspec.msgpack.decode(encode_buckets([BucketDigest(3, b"d" * 16)])) == [[3, b"d" * 16]]


@pytest.mark.parametrize(
    "value",
    [None, [1], [[1, b"d" * 15]], [[1, b"d" * 17]], [[-1, b"d" * 16]], [[1]], [[0, bytes(16)]] * (MOST_BUCKETS + 1)],
    ids=lambda value: str(value)[:40],
)
def test_no_buckets(value: object) -> None:
    """What isn't digests is refused."""
    with pytest.raises(BadRequest, match="buckets: found what can't be read"):
        decode_buckets(msgspec.msgpack.encode(value))


@pytest.mark.parametrize("value", [None, 1, [-1], [2**32], ["0"], [0] * 1002], ids=lambda value: str(value)[:40])
def test_no_indexes(value: object) -> None:
    """What isn't ids is refused."""
    with pytest.raises(BadRequest, match="indexes: found what can't be read"):
        decode_indexes(msgspec.msgpack.encode(value))
