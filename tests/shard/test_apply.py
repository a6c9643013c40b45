"""Batches: what a shard answers, what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from shard.states import (
    HALF,
    LOW,
    NEXT,
    STATE,
    A,
    B,
    C,
    D,
    Outcome,
    X,
    Y,
    answers,
    applied,
    keys_of,
    outcomes,
    with_low,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, ShardBehind, WrongShard
from pyshard.model import document_encoding
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import VERSION, Answer
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Run,
    Touch,
    Write,
    columns,
)
from pyshard.settings import settings
from pyshard.shard.shard import Shard
from pyshard.storage import ITSELF, MemoryStore, Page, Sender, Task

ONE, TWO, THREE = (document_encoding.encode(number)[0] for number in (1, 2, 3))


def test_apply(shard: Shard) -> None:
    """A batch of all verbs, in its order."""
    assert answers(
        shard,
        Write("", [A, B], [b"one", b"two"]),
        Write("", [A, C], [b"no", b"three"], [ABSENT, ABSENT]),
        Has("", [A, D]),
        Read("", [C, A, D]),
        Pop("", [A, D]),
        Remove("", [B]),
        Touch("", [B, C], [1, 0]),
        Increment("", [D], [ONE], [TWO]),
        ReadItem("", [A, C]),
        Read("", [A, B, C, D]),
    ) == [
        [True, True],
        [False, True],
        [True, False],
        [b"three", b"one", None],
        [b"one", None],
        [b"two"],
        [False, True],
        [THREE],
        [None, b"three"],
        [None, None, b"three", THREE],
    ]


@pytest.mark.parametrize("epoch", [0, 6, 7])
def test_callers_of_older_epochs(shard: Shard, epoch: int) -> None:
    """Who routed by an older map is served: what this shard doesn't own it refuses key by key."""
    assert answers(shard, Read("", [A, X]), epoch=epoch) == [[None, "WRONG_SHARD"]]
    assert result(shard.keys(epoch, "", 0, None)) == Page([], False, HALF)


def test_callers_of_newer_epochs(shard: Shard) -> None:
    """Who knows a newer epoch is refused as a whole, and nothing is applied."""
    message = "shard 'low' has epoch 7 and the caller 8; the bootstrap will tell the shard soon"
    runs = [Write("", [A], [b"one"])]
    for ask in (lambda: shard.apply(8, runs), lambda: shard.keys(8, "", 0, None)):
        with pytest.raises(ShardBehind) as refused:
            ask()
        assert str(refused.value) == message
    assert (shard.store.documents, shard.operations) == (0, 0)


def test_redirect(shard: Shard) -> None:
    """A key outside the range is refused, and the message says who owns what since when."""
    (answer,) = result(shard.apply(7, [Write("", [b"test1"], [b"one"])]))
    (refused,) = answer.outcomes()
    assert isinstance(refused, WrongShard)
    assert str(refused) == "shard 'low' owns [0.0, 0.5) at epoch 7, not 0.8204544; get the newest map"
    assert shard.store.documents == 0


def test_redirects_for_a_part_of_a_run(shard: Shard) -> None:
    """Keys that others own are refused one by one; the others' outcomes stay at their places."""
    assert answers(
        shard, Write("", [X, A, Y, B, X], [b"x", b"a", b"y", b"b", b"x"]), Read("", [B, X, C, A]), Pop("", [Y, A])
    ) == [
        ["WRONG_SHARD", True, "WRONG_SHARD", True, "WRONG_SHARD"],
        [b"b", "WRONG_SHARD", None, b"a"],
        ["WRONG_SHARD", b"a"],
    ]
    assert shard.store.documents == 1


def test_redirects_for_some_runs(shard: Shard) -> None:
    """Runs that belong here altogether, not at all, or in part: each gets its own answer."""
    assert answers(
        shard,
        Read("", [X, Y]),
        Write("", [A], [b"a"]),
        Has("", []),
        Has("", [Y]),
        Has("", [A, X]),
        Has("gone", [A]),
        Has("", [A]),
    ) == [
        ["WRONG_SHARD", "WRONG_SHARD"],
        [True],
        [],
        ["WRONG_SHARD"],
        [True, "WRONG_SHARD"],
        ["INDEX_NOT_FOUND"],
        [True],
    ]


def test_refusals_of_the_store_in_a_part_of_a_run(new: Shard) -> None:
    """What the store refuses of a run that was redirected in part stands at its own place."""
    result(new.configure("low", with_low(limit=300)))
    large = b"1" * 200
    assert answers(new, Write("", [X, A, Y, B], [large, large, large, b""])) == [
        ["WRONG_SHARD", "SHARD_FULL", "WRONG_SHARD", True]
    ]


def test_index_decides_the_slot(shard: Shard) -> None:
    """A key belongs where its index puts it, which may be another shard than in the default index."""
    elsewhere = next(key for key in keys_of(LOW) if not in_ranges(slot_of(key, b"pages"), LOW.ranges))
    here = next(key for key in keys_of(LOW, "pages") if not in_ranges(slot_of(key), LOW.ranges))
    assert answers(
        shard, Write("pages", [elsewhere, here], [b"1", b"2"]), Write("", [elsewhere, here], [b"3", b"4"])
    ) == [
        ["WRONG_SHARD", True],
        [True, "WRONG_SHARD"],
    ]


def test_unknown_index(shard: Shard) -> None:
    """Operations on an index that the shard doesn't know are refused one by one; the rest of the batch goes on."""
    found = result(shard.apply(7, [Write("gone", [A, X], [b"", b""]), Write("", [A], [b"one"])]))
    assert outcomes(found) == [["INDEX_NOT_FOUND", "INDEX_NOT_FOUND"], [True]]
    assert str(found[0].outcomes()[0]) == "there is no index 'gone'; create it first"


def test_unknown_index_with_a_long_name(shard: Shard) -> None:
    """A name that nobody could have given an index doesn't come back whole for each operation."""
    found = result(shard.apply(7, [Read("n" * 1_000_000, [A, B])]))
    assert [len(str(one)) < 300 for one in found[0].outcomes()] == [True, True]


def test_limit_is_that_of_the_range(new: Shard) -> None:
    """The map says how much a shard may store, and a newer map may say otherwise."""
    result(new.configure("low", with_low(limit=300)))
    writes = Write("", [A, B, C], [b"", b"", b""])
    assert answers(new, writes) == [[True, True, "SHARD_FULL"]]
    result(new.configure("low", with_low(NEXT, limit=10_000)))
    assert answers(new, writes) == [[True, True, True]]


def test_answers_are_bounded(new: Shard) -> None:
    """An answer takes a megabyte of records, and the record that goes past it."""
    result(new.configure("low", with_low(limit=10**9)))
    third = b"1" * (settings.ANSWER_BYTES // 3 + 1)
    keys = [A, B, C, D]
    assert answers(new, Write("", keys, [third] * 4), Read("", keys)) == [
        [True] * 4,
        [third, third, third, "ANSWER_FULL"],
    ]


def test_most_operations_of_a_batch(shard: Shard) -> None:
    """A batch has at most 10,000 operations, over all its runs; one more, and nothing of it is applied."""
    fits: list[Run] = [Has("", [A] * 9000), Write("", [A] * 1000, [b""] * 1000)]
    assert answers(shard, *fits) == [[False] * 9000, [True] * 1000]
    with pytest.raises(BadRequest) as refused:
        shard.apply(7, [*fits, Pop("", [A])])
    assert str(refused.value) == "the batch has 10,001 operations; a batch has at most 10,000"
    assert (shard.store.documents, shard.operations) == (1, 10_000)


def test_empty_batch(shard: Shard) -> None:
    """A batch of nothing is answered with nothing."""
    assert answers(shard) == []
    assert answers(shard, Read("", []), Read("gone", [])) == [[], []]


class ShiftingStore(MemoryStore):
    """Answers when the test says so."""

    def __init__(self) -> None:
        super().__init__("1d", lambda: 0.0)
        self.applying: list[tuple[Deferred[list[Answer]], list[Answer]]] = []

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        answers = result(super().apply(tasks, limit, room, sender))
        self.applying.append((Deferred(), answers))
        return self.applying[-1][0]


def test_answers_that_come_later(clock: Clock) -> None:
    """A batch is answered when its store has answered, each with its own outcomes, in whatever order they come."""
    store = ShiftingStore()
    shard = Shard(store, clock.seconds)
    result(shard.configure("low", STATE))
    first = shard.apply(7, [Write("", [X, A], [b"x", b"a"])])
    second = shard.apply(7, [Read("", [A]), Read("", [X])])
    assert (first.called, second.called) == (False, False)
    for deferred, found in reversed(store.applying):
        deferred.callback(found)
    assert outcomes(result(first)) == [["WRONG_SHARD", True]]
    assert outcomes(result(second)) == [[VERSION.pack(1) + b"a"], ["WRONG_SHARD"]]


def test_store_that_fails(clock: Clock) -> None:
    """What a store fails with is what the batch fails with."""
    store = ShiftingStore()
    shard = Shard(store, clock.seconds)
    result(shard.configure("low", STATE))
    applying = shard.apply(7, [Read("", [A])])
    store.applying[0][0].errback(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        result(applying)


_some_keys = st.lists(st.sampled_from([A, B, C, X, Y]), max_size=8)
_indexes = st.sampled_from(["", "pages", "gone"])


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    keys = draw(_some_keys)
    index = draw(_indexes)
    records = [b"%d" % number for number, _ in enumerate(keys)]
    conditions = draw(st.sampled_from([None, *([one] * len(keys) for one in (ABSENT, ALWAYS, PRESENT, 1, 2, 3))]))
    ttls = draw(st.sampled_from([None, [5] * len(keys)]))
    runs: list[Run] = [
        Read(index, keys),
        Has(index, keys),
        ReadItem(index, keys),
        Write(index, keys, records, conditions, ttls),
        Pop(index, keys, conditions),
        Remove(index, keys, conditions),
        Touch(index, keys, [7] * len(keys), conditions),
        Increment(index, keys, [ONE] * len(keys), [TWO] * len(keys), ttls),
    ]
    return draw(st.sampled_from(runs))


def one_by_one(shard: Shard, runs: list[Run]) -> list[list[Outcome]]:
    """The outcomes when each operation of the runs is a batch of its own."""
    found: list[list[Outcome]] = []
    for run in runs:
        found.append([])
        for position, key in enumerate(run.keys):
            own: list[Any] = [None if column is None else [column[position]] for column in columns(run)]
            found[-1] += applied(shard, type(run)(run.index, [key], *own))[0]
    return found


@given(st.lists(_runs(), max_size=6))
def test_batch_is_its_operations(runs: list[Run]) -> None:
    """Any batch comes to what its operations come to one after the other."""
    whole, single = (Shard(MemoryStore("1d", lambda: 0.0), lambda: 0.0) for _ in range(2))
    for shard in (whole, single):
        result(shard.configure("low", STATE))
    assert applied(whole, *runs) == one_by_one(single, runs)
    assert (whole.store.documents, whole.store.used) == (single.store.documents, single.store.used)
