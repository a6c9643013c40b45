"""Counters in every store: ints of any size, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from storage.contract.samples import number
from stores import PLENTY, Bench, task

from pyshard.model import document_encoding
from pyshard.protocol.batch_operations import Has, Increment, Read
from pyshard.settings import settings


def test_increment(bench: Bench) -> None:
    """`increment` adds to what is there, or to the initial value, and gives the new value, as often as asked."""
    counting = Increment("", [b"n", b"m", b"n"], [number(5), number(-1), number(2)], [number(10), number(0), number(7)])
    assert bench.answers(counting, Read("", [b"n", b"m"])) == [
        [number(15), number(-1), number(17)],
        [number(17), number(-1)],
    ]


@pytest.mark.parametrize("start", [2**31, 2**63 - 1, 2**64 - 1, -(2**63), 2**1000, -(2**1000)])
def test_increment_of_any_size(bench: Bench, start: int) -> None:
    """Counters go past 64 bits, both ways, and back."""
    bench.fill({b"n": number(start)})
    counting = Increment("", [b"n"] * 3, [number(one) for one in (1, -2, 2**2000)], [number(0)] * 3)
    assert bench.answers(counting) == [[number(start + 1), number(start - 1), number(start - 1 + 2**2000)]]


@pytest.mark.parametrize("document", [None, True, False, 1.0, "1", b"1", [1], {"n": 1}])
def test_increment_of_something_else(bench: Bench, document: Any) -> None:
    """What is no int stays as it is."""
    record = document_encoding.encode(document)[0]
    bench.fill({b"n": record})
    version = bench.version(b"n")
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == "NOT_A_NUMBER"
    assert bench.one(Read("", [b"n"])) == record
    assert bench.version(b"n") == version


@pytest.mark.parametrize("garbage", [b"", b"\x02\0\0\0\x1c\x01", number(1)[:5], number(2**70)[:-1], b"\xff" * 20])
def test_increment_of_garbage(bench: Bench, garbage: bytes) -> None:
    """A record, an amount or an initial value that can't be read is no number, and nothing is stored."""
    bench.fill({b"n": garbage})
    one, zero = number(1), number(0)
    counting = Increment("", [b"n", b"x", b"x"], [one, garbage, one], [zero, zero, garbage])
    assert bench.answers(counting, Has("", [b"x"])) == [["NOT_A_NUMBER"] * 3, [False]]


def int_of(size: int) -> int:
    """The largest int whose record has so many bytes."""
    value = (1 << (8 * (size - 9) - 1)) - 1
    assert len(number(value)) == size  # 5 bytes of its head, and 4 that say that it is an int, and its length
    return value


def test_the_largest_ints(bench: Bench) -> None:
    """Ints count up to so many bytes, whether they are there, are given, or come out; a larger one changes nothing."""
    largest, one, zero = int_of(settings.MAX_INT_BYTES), number(1), number(0)
    full, more = number(largest), number(largest + 1)
    assert len(more) == settings.MAX_INT_BYTES + 1
    bench.fill({b"full": number(largest - 1), b"more": more})
    keys = [b"full", b"full", b"full", b"more", b"x", b"x", b"y", b"z", b"z"]
    amounts = [one, one, number(-1), number(-1), more, one, full, zero, one]
    initials = [zero, zero, zero, zero, zero, more, zero, full, full]
    large = "DOCUMENT_TOO_LARGE"
    expected = [full, large, number(largest - 1), large, large, large, full, full, large]
    assert bench.answers(Increment("", keys, amounts, initials), Has("", [b"x"])) == [expected, [False]]
    assert bench.answers(Read("", [b"full", b"more", b"z"])) == [[number(largest - 1), more, full]]


def test_what_is_said_of_a_larger_int(bench: Bench) -> None:
    """The error names the key, what is too large, its bytes, and how many it may have."""
    most = settings.MAX_INT_BYTES
    one, full, more = (number(value) for value in (1, int_of(most), int_of(most) + 1))
    bench.fill({b"n": more, b"full": full})
    run = Increment("", [b"n", b"x", b"x", b"full"], [one, more, one, one], [one, one, more, one])
    (answer,) = bench.result(bench.store.apply([task(run)], PLENTY, PLENTY))
    found = f"the int has {most + 1:,} bytes as stored; increment takes at most {most:,}"
    whats = [("n", ""), ("x", "by: "), ("x", "initial: "), ("full", "the sum: ")]
    assert [message for _, message in answer.errors.values()] == [
        f"increment of key {key!r}: {what}{found}" for key, what in whats
    ]


def test_a_large_int_is_not_decoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large an int is, no increment decodes or encodes more bytes than an int may have; so many are cheap."""
    decoded: list[int] = []
    decode = document_encoding.decode

    def counted(record: bytes, begin: int = 0) -> object:
        decoded.append(len(record))
        return decode(record, begin)

    bench.fill({b"n": number(1 << (8 * 1024 * 1024))})
    monkeypatch.setattr(document_encoding, "decode", counted)
    one = number(1)
    (found,) = bench.answers(Increment("", [b"n"] * 20, [one] * 20, [one] * 20))
    assert found == ["DOCUMENT_TOO_LARGE"] * 20
    assert decoded == []
    bench.fill({b"n": number(int_of(settings.MAX_INT_BYTES) - 1000)})
    (found,) = bench.answers(Increment("", [b"n"] * 100, [one] * 100, [one] * 100))
    assert "ANSWER_FULL" in found
    assert sum(decoded) <= settings.BATCH_WORK


def test_increment_keeps_the_time_to_live(bench: Bench) -> None:
    """A counter expires when it was to expire; then it begins anew, and lives on."""
    bench.fill({b"n": number(1)}, ttl=1000)
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(2)
    bench.clock.advance(1)
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(1)
    bench.clock.advance(10)
    bench.sweep()
    assert bench.one(Increment("", [b"n"], [number(1)], [number(0)])) == number(2)


def test_increment_at_the_limit(bench: Bench) -> None:
    """A counter that has no room to grow, or to begin, is refused and stays as it is."""
    bench.fill({b"n": number(127)})
    limit = bench.store.used
    counting = Increment("", [b"n", b"x", b"n"], [number(1), number(1), number(-1)], [number(0)] * 3)
    assert bench.answers(counting, limit=limit) == [["SHARD_FULL", "SHARD_FULL", number(126)]]
    assert bench.store.used == limit


def test_a_counter_that_expires(bench: Bench) -> None:
    """The time to live of an increment is that of a key that it makes; one that exists keeps its own, or none."""
    bench.fill({b"old": number(1)}, ttl=3000)
    bench.fill({b"stays": number(1)})
    keys = [b"new", b"old", b"stays", b"other"]
    counting = Increment("", keys, [number(1)] * 4, [number(0)] * 4, [1000, 1000, 1000, 0])
    first, second = ([number(one) for one in (*values, values[0])] for values in ((1, 2, 2), (2, 3, 3)))
    assert bench.answers(counting, counting) == [first, second]
    bench.clock.advance(1)
    assert bench.answers(Has("", keys)) == [[False, True, True, True]]
    assert bench.answers(counting) == [[number(1), number(4), number(4), number(3)]]  # the first is made anew
    bench.clock.advance(2)
    assert bench.answers(Has("", keys)) == [[False, False, True, True]]
    bench.sweep()
    assert bench.store.documents == 2
