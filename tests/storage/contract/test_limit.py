"""The limit of every store: what counts, what is refused at it, and what gives room back."""

from __future__ import annotations

from typing import Any

import pytest
from storage.contract.samples import add
from stores import INDEXES, PLENTY, Bench, task, weight

from pyshard.protocol.batch_operations import PRESENT, Pop, Read, Remove, Touch, Write


def test_used(bench: Bench) -> None:
    """`used` counts key, record and overhead of each document, in all indexes."""
    bench.fill({b"a": b"one", b"bcd": b""})
    bench.fill({b"a": b"12345678"}, "pages")
    assert bench.store.used == (1 + 3 + 128) + (3 + 0 + 128) + (1 + 8 + 128)


def test_an_expiry_counts(bench: Bench) -> None:
    """A document with a time to live counts 112 bytes more, as long as it has one, whatever gave or took it."""
    bench.fill({b"a": b"one"}, ttl=1000)
    bench.fill({b"b": b"one"}, "pages", ttl=1000)
    bench.fill({b"c": b"one"})
    each = 1 + 3 + 128
    assert bench.store.used == 3 * each + 2 * 112
    bench.fill({b"a": b"two"}, ttl=5000)
    bench.answers(Touch("pages", [b"b"], [500]))
    assert bench.store.used == 3 * each + 2 * 112
    bench.answers(Touch("", [b"a", b"c"], [0, 1000]))
    assert bench.store.used == 3 * each + 2 * 112
    bench.answers(Write("", [b"c"], [b"six"]))
    assert bench.store.used == 3 * each + 112
    bench.answers(Write("", [b"a"], [b"six"], [PRESENT], [1000]), Pop("", [b"a"]))
    assert bench.store.used == 2 * each + 112
    bench.result(bench.store.set_indexes({"links": INDEXES["links"]}))
    assert bench.store.used == 2 * each + 112
    bench.sweep()
    assert bench.store.used == each


def test_an_expiry_needs_room(bench: Bench) -> None:
    """To touch a document that had no time to live is refused at the limit; any other touch isn't."""
    bench.fill({b"a": b"one"})
    limit = bench.store.used + 112
    assert bench.one(Touch("", [b"a"], [1000]), limit - 1) == "SHARD_FULL"
    assert bench.store.used == limit - 112
    assert bench.one(Touch("", [b"a"], [1000]), limit) is True
    assert bench.one(Touch("", [b"a"], [2000]), 0) is True
    assert bench.one(Touch("", [b"a"], [0]), 0) is True
    assert bench.store.used == limit - 112


@pytest.mark.parametrize("verb", [Write, add])
def test_full_exactly_at_the_limit(bench: Bench, verb: Any) -> None:
    """What takes `used` to the limit fits; what takes it one byte further is refused and changes nothing."""
    limit = weight(b"a", b"one") + weight(b"b", b"two")
    bench.fill({b"a": b"one"})
    assert bench.answers(verb("", [b"b"], [b"two!"]), limit=limit) == [["SHARD_FULL"]]
    assert (bench.store.documents, bench.store.used) == (1, weight(b"a", b"one"))
    assert bench.answers(Read("", [b"b"]), limit=limit) == [[None]]
    assert bench.answers(verb("", [b"b"], [b"two"]), limit=limit) == [[True]]
    assert (bench.store.documents, bench.store.used) == (2, limit)


def test_limit_is_of_all_indexes(bench: Bench) -> None:
    """The limit is one for all indexes together."""
    bench.fill({b"a": b"one"})
    limit = weight(b"a", b"one") + weight(b"b", b"two")
    assert bench.answers(
        Write("pages", [b"b"], [b"two!"]), Write("links", [b"b"], [b"two"]), Write("", [b"c"], [b""]), limit=limit
    ) == [["SHARD_FULL"], [True], ["SHARD_FULL"]]


def test_replacing_counts_the_difference(bench: Bench) -> None:
    """A record may be replaced by one of the same size, and by one that fits in its place."""
    limit = weight(b"a", b"12345")
    bench.fill({b"a": b"123"})
    sizes = [b"12345", b"123456", b"54321", b"1", b"123456", b"12345"]
    stored = [True, "SHARD_FULL", True, True, "SHARD_FULL", True]
    assert bench.answers(Write("", [b"a"] * 6, sizes), Read("", [b"a"]), limit=limit) == [stored, [b"12345"]]
    assert bench.store.used == limit


def test_refused_replacement_keeps_the_old_record(bench: Bench) -> None:
    """A replacement that doesn't fit leaves the record that was there."""
    bench.fill({b"a": b"old"})
    assert bench.answers(Write("", [b"a"], [b"newer"]), Read("", [b"a"]), limit=weight(b"a", b"old") + 1) == [
        ["SHARD_FULL"],
        [b"old"],
    ]


def test_rest_of_the_batch_goes_on(bench: Bench) -> None:
    """After a refused write later ones that fit are stored, in the same run and in later ones."""
    limit = weight(b"a", b"1") + weight(b"b", b"1")
    assert bench.answers(
        Write("", [b"a", b"x", b"b", b"y"], [b"1", b"1" * 500, b"1", b""]),
        Read("", [b"a", b"x", b"b", b"y"]),
        limit=limit,
    ) == [[True, "SHARD_FULL", True, "SHARD_FULL"], [b"1", None, b"1", None]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_removing_gives_room_back(bench: Bench, verb: type[Pop | Remove]) -> None:
    """What was removed gives back exactly what it took, within the same batch too."""
    bench.fill({b"a": b"12345", b"b": b"1"})
    limit = bench.store.used
    assert bench.answers(
        Write("", [b"c"], [b""]),
        verb("", [b"a"]),
        Write("", [b"c", b"c"], [b"123456", b"12345"]),
        Write("", [b"d"], [b""]),
        limit=limit,
    ) == [["SHARD_FULL"], [b"12345"], ["SHARD_FULL", True], ["SHARD_FULL"]]
    assert bench.store.used == limit
    assert bench.answers(verb("", [b"b", b"c", b"x"])) == [[b"1", b"12345", None]]
    assert (bench.store.documents, bench.store.used) == (0, 0)


def test_dropping_gives_room_back(bench: Bench) -> None:
    """The documents of a dropped index leave their room to others, bit by bit."""
    bench.fill({b"%02d" % each: b"12345" for each in range(20)}, "pages")
    each = weight(b"00", b"12345")
    limit = bench.store.used
    bench.result(bench.store.set_indexes({"links": 2}))
    assert (bench.store.documents, bench.store.used) == (0, limit)
    assert bench.one(Write("links", [b"00"], [b"12345"]), limit) == "SHARD_FULL"
    assert bench.result(bench.store.sweep(5)) is True
    assert bench.store.used == limit - 5 * each
    assert bench.answers(Write("links", [b"%02d" % one for one in range(6)], [b"12345"] * 6), limit=limit) == [
        [True] * 5 + ["SHARD_FULL"]
    ]
    bench.sweep()
    assert (bench.store.documents, bench.store.used) == (5, 5 * each)


def test_lowered_limit(bench: Bench) -> None:
    """A store past a limit that was lowered takes what doesn't grow it, and nothing else."""
    bench.fill({b"a": b"12345", b"b": b"12345"})
    assert bench.answers(
        Write("", [b"a", b"a", b"a", b"c"], [b"1234", b"4321", b"12345", b""]), Read("", [b"a"]), limit=10
    ) == [[True, True, "SHARD_FULL", "SHARD_FULL"], [b"4321"]]


def test_full_message(bench: Bench) -> None:
    """The refusal says how full the shard is and what the write needs."""
    bench.fill({b"a": b"123"})
    (answer,) = bench.result(bench.store.apply([task(Write("", [b"b"], [b"1" * 2000]))], 1000, PLENTY))
    (refused,) = answer.outcomes()
    assert str(refused) == (
        "the shard holds 132 of 1,000 bytes and this write needs 2,129 more; remove documents or raise the shard's size"
    )
