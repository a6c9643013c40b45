"""The room of an answer: what every store still takes into it, and what it refuses when it is full."""

from __future__ import annotations

from typing import TypeVar

import pytest
from storage.contract.samples import add, number
from stores import Bench, weight

from pyshard.protocol.batch_answers import ITEM, VERSION
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Touch, Write
from pyshard.storage.durable import lmdb_encoding

T = TypeVar("T")


@pytest.mark.parametrize("verb", [Read, Pop])
def test_answer_takes_the_record_that_fills_it(bench: Bench, verb: type[Read | Pop]) -> None:
    """Records are taken while there is room; the one that fills it, or goes past it, is the last."""
    keys = [b"a", b"b", b"c", b"d"]
    two = 2 * (VERSION.size + 5)
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys[:2]), room=two) == [[b"12345", b"12345"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=two + 1) == [[b"12345", b"12345", b"12345", "ANSWER_FULL"]]
    bench.fill(dict.fromkeys(keys, b"12345"))
    assert bench.answers(verb("", keys), room=two) == [[b"12345", b"12345", "ANSWER_FULL", "ANSWER_FULL"]]


def test_room_is_of_all_runs(bench: Bench) -> None:
    """What one run's records take of the room the next one hasn't."""
    bench.fill(dict.fromkeys([b"a", b"b", b"c"], b"12345"))
    one = VERSION.size + 5
    first, second = Read("", [b"a", b"x"]), Read("", [b"x", b"b", b"c"])
    assert bench.answers(first, second, room=2 * one + 1) == [[b"12345", None], [None, b"12345", b"12345"]]
    assert bench.answers(first, second, room=2 * one) == [[b"12345", None], [None, b"12345", "ANSWER_FULL"]]
    items = ReadItem("", [b"a", b"b", b"c"])
    assert bench.answers(items, room=ITEM.size + 6) == [[b"12345", b"12345", "ANSWER_FULL"]]
    assert bench.answers(items, room=ITEM.size + 5) == [[b"12345", "ANSWER_FULL", "ANSWER_FULL"]]


def test_answer_takes_one_large_record(bench: Bench) -> None:
    """A record larger than the room is answered all the same, so that it can be read at all."""
    bench.fill({b"a": b"1" * 1000, b"b": b""})
    assert bench.answers(Read("", [b"a", b"b"]), room=1) == [[b"1" * 1000, "ANSWER_FULL"]]


def test_full_answer_refuses_missing_keys_too(bench: Bench) -> None:
    """Behind the record that filled the answer nothing is looked up, so that nobody takes a key for missing."""
    bench.fill({b"a": b"12345"})
    room = VERSION.size + 5
    assert bench.answers(Read("", [b"x", b"a", b"x"]), room=room) == [[None, b"12345", "ANSWER_FULL"]]
    assert bench.answers(Read("", [b"a", b"a", b"x"]), room=room) == [[b"12345", "ANSWER_FULL", "ANSWER_FULL"]]
    assert bench.answers(Pop("", [b"a", b"x"]), room=room) == [[b"12345", "ANSWER_FULL"]]


@pytest.mark.parametrize("filler", [Read, Pop, Remove])
def test_full_answer_stops_everything_behind_it(bench: Bench, filler: type[Read | Pop | Remove]) -> None:
    """Once the answer is full, no later run of the batch is applied, whatever its verb and index."""
    bench.fill({b"a": b"12345", b"b": b"two"})
    bench.fill({b"p": b"page"}, "pages")
    before = bench.store.used - weight(b"a", b"12345") * (filler is not Read)
    full = "ANSWER_FULL"
    assert bench.answers(
        filler("", [b"a"]),
        Write("", [b"b", b"new"], [b"other", b""]),
        add("pages", [b"new"], [b""]),
        Has("", [b"b"]),
        Read("pages", [b"p"]),
        ReadItem("pages", [b"p"]),
        Pop("", [b"b"]),
        Remove("pages", [b"p"]),
        Touch("", [b"b"], [1]),
        Increment("", [b"new"], [number(1)], [number(0)]),
        room=5,
    ) == [[b"12345"], [full, full], *([full] for _ in range(8))]
    bench.clock.advance(1)
    assert bench.answers(Read("", [b"b", b"new"]), Read("pages", [b"p", b"new"])) == [[b"two", None], [b"page", None]]
    assert bench.store.used == before


def test_room_is_one_for_the_batch(bench: Bench) -> None:
    """All runs of a batch share the room, whichever verbs they have."""
    bench.fill(dict.fromkeys([b"a", b"b", b"c", b"d"], b"12345"))
    room = 3 * (VERSION.size + 5) + 1
    assert bench.answers(
        Read("", [b"a"]), Read("", [b"b"]), Pop("", [b"b"]), Remove("", [b"c"]), Read("", [b"d"]), room=room
    ) == [[b"12345"], [b"12345"], [b"12345"], [b"12345"], ["ANSWER_FULL"]]
    assert bench.answers(Has("", [b"b", b"c", b"d"])) == [[False, False, True]]


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_full_answer_stops_removing(bench: Bench, verb: type[Pop | Remove]) -> None:
    """What is behind the record that filled the answer stays in the store."""
    bench.fill({b"a": b"12345", b"b": b"12345", b"c": b"12345"})
    room = 6 if verb is Remove else VERSION.size + 6
    assert bench.answers(verb("", [b"a", b"b", b"c"]), room=room) == [[b"12345", b"12345", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"a", b"b", b"c"])) == [[False, False, True]]
    assert (bench.store.documents, bench.store.used) == (1, weight(b"c", b"12345"))


def test_remove_answers_with_heads_only(bench: Bench) -> None:
    """`remove` takes of the room what it answers with: five bytes, however long the record."""
    bench.fill({b"a": b"1" * 1000, b"b": b"1" * 1000, b"c": b""})
    assert bench.answers(Remove("", [b"a", b"b", b"c"]), room=10) == [[b"11111", b"11111", "ANSWER_FULL"]]
    assert bench.answers(Has("", [b"c"])) == [[True]]


def test_verbs_without_records_take_no_room(bench: Bench) -> None:
    """`has`, `write`, `touch` and keys that don't exist leave the room to others."""
    assert bench.answers(
        Write("", [b"a"], [b"12345"]),
        add("", [b"b"], [b"12345"]),
        Has("", [b"a"]),
        Touch("", [b"a"], [0]),
        Read("", [b"x", b"a"]),
        room=1,
    ) == [[True], [True], [True], [True], [None, b"12345"]]


@pytest.mark.parametrize("filler", [Read, ReadItem])
def test_reading_stops_where_the_answer_is_full(
    bench: Bench, filler: type[Read | ReadItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no room in the answer isn't fetched: a batch of many large documents costs no more than its answer."""
    keys = [b"%03d" % each for each in range(200)]
    bench.fill(dict.fromkeys(keys, b"1" * 50_000))
    found = bench.answers(filler("", keys), room=100_000)
    assert found == [[b"1" * 50_000] * 2 + ["ANSWER_FULL"] * 198]
    if bench.durable:
        fetched: list[int] = []

        def noted(value: T) -> T:
            fetched.append(1)
            return value

        results, unpack = lmdb_encoding.results, lmdb_encoding.unpack
        monkeypatch.setattr(lmdb_encoding, "results", lambda values, room: results(map(noted, values), room))
        monkeypatch.setattr(lmdb_encoding, "unpack", lambda key, value: unpack(key, noted(value)))
        bench.answers(filler("", keys), room=100_000)
        assert len(fetched) == 2
