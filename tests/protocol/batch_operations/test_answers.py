"""Answers on the wire: what arrives equals what was sent, and fits the question."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.batch_operations.samples import run_lists, texts

from pyshard.errors import BY_CODE, BadRequest, PyshardError, ShardFull, WrongShard
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import ITEM, Answer, Result, decode_answers, decode_answers_plainly, encode_answers
from pyshard.protocol.batch_operations import HEAD_BYTES, Has, Pop, Read, ReadItem, Remove, Run, Touch, Write


@st.composite
def answered(draw: st.DrawFn) -> tuple[list[Run], list[Answer]]:
    """Runs, with answers that fit."""
    runs = draw(run_lists)
    answers = []
    for run in runs:
        count = len(run.keys)
        kinds: st.SearchStrategy[Result] = st.booleans()
        if not isinstance(run, Has | Write | Touch):
            kinds = st.binary(min_size=ITEM.size)
        if isinstance(run, Read | ReadItem | Pop | Remove):
            kinds |= st.none()
        results = draw(st.lists(kinds, min_size=count, max_size=count))
        positions = st.integers(0, count - 1) if count else st.nothing()
        answer = Answer(results)
        for position, error in draw(st.dictionaries(positions, st.tuples(texts, texts))).items():
            results[position], answer.errors[position] = None, error
        answers.append(answer)
    return runs, answers


def test_answers_as_bytes() -> None:
    """An answer is one array: the results, then position → code and message of what was refused."""
    answers = [Answer([b"12345678", None]), Answer([True, None, False], {1: ("SHARD_FULL", "why")})]
    data = b"\x92\x92\x92\xc4\x0812345678\xc0\x80\x92\x93\xc3\xc0\xc2\x81\x01\x92\xaaSHARD_FULL\xa3why"
    assert encode_answers(answers) == data
    assert decode_answers(data, [Read("", [b"a", b"b"]), Has("", [b"a", b"b", b"c"])]) == answers


@given(answered())
def test_answers_round_trip(pair: tuple[list[Run], list[Answer]]) -> None:
    """The answers that arrive are those that were sent, types of results included."""
    runs, answers = pair
    arrived = decode_answers(encode_answers(answers), runs)
    assert arrived == answers
    assert [[type(result) for result in answer.results] for answer in arrived] == [
        [type(result) for result in answer.results] for answer in answers
    ]


def decoded(decode: Callable[[bytes, list[Run]], list[Answer]], data: bytes, runs: list[Run]) -> object:
    """What a decoder makes of answers: the answers, or the refusal's text."""
    try:
        return decode(data, runs)
    except BadRequest as error:
        return str(error)


@given(answered(), run_lists)
def test_the_quick_way_agrees_with_the_plain_one(pair: tuple[list[Run], list[Answer]], others: list[Run]) -> None:
    """Answers to a single run take a quicker way, which gives the same answers and the same refusals."""
    runs, answers = pair
    for run, answer in zip(runs, answers, strict=True):
        data = encode_answers([answer])
        for asked in ([run], *([other] for other in others)):
            assert decoded(decode_answers, data, asked) == decoded(decode_answers_plainly, data, asked)


@pytest.mark.parametrize(
    ("answers", "sizes"),
    [
        ([], "[]"),
        ([Answer([True])], "[1]"),
        ([Answer([True, True]), Answer([True])], "[2, 1]"),
        ([Answer([]), Answer([True]), Answer([])], "[0, 1, 0]"),
        ([Answer([True]), Answer([])], "[1, 0]"),
    ],
)
def test_answers_fit_the_runs(answers: list[Answer], sizes: str) -> None:
    """Answers of another number, or with another number of results, are refused."""
    with pytest.raises(BadRequest) as refused:
        decode_answers(encode_answers(answers), [Has("", [b"a"]), Has("", [b"b", b"c"])])
    assert str(refused.value) == f"the answers' sizes are {sizes}, not those of the runs that were sent"


def test_errors_have_a_position() -> None:
    """An error that names no key of the run is refused, also next to one that does."""
    answers = [Answer([None, None], {1: ("SHARD_FULL", "why"), 2: ("SHARD_FULL", "why")})]
    with pytest.raises(BadRequest) as refused:
        decode_answers(encode_answers(answers), [Has("", [b"a", b"b"])])
    assert str(refused.value) == "the answers name a position that doesn't exist"


@pytest.mark.parametrize("position", [-(2**63), -1, 10_000, 2**64 - 1])
def test_errors_have_a_position_of_a_batch(position: int) -> None:
    """A number that no batch has is refused before it gets into a dict: a peer could choose many of one hash."""
    answers = [Answer([None], {position: ("SHARD_FULL", "why")})]
    with pytest.raises(BadRequest, match=r"^the answers can't be read: Expected `int` (<=|>=) .* at `key`"):
        decode_answers(encode_answers(answers), [Has("", [b"a"])])


def test_errors_may_stand_at_both_ends() -> None:
    """The first and the last operation of a run can be refused."""
    answers = [Answer([None, True, None], {0: ("SHARD_FULL", "first"), 2: ("SHARD_FULL", "last")})]
    assert decode_answers(encode_answers(answers), [Has("", [b"a", b"b", b"c"])]) == answers


def test_refuse() -> None:
    """A refused operation is noted with its code and message."""
    answer = Answer([True, None])
    answer.refuse(1, ShardFull("no room"))
    assert answer.errors == {1: ("SHARD_FULL", "no room")}


def test_refusals_of_one_answer_are_its_own() -> None:
    """Answers made without errors don't share their errors."""
    Answer([None]).refuse(0, ShardFull("no room"))
    assert Answer([None]).errors == {}


def test_outcomes() -> None:
    """Results and errors come in the order of the keys, and the results stay as they were."""
    answer = Answer([b"x", None, None, True], {2: ("WRONG_SHARD", "moved"), 1: ("FROM_THE_FUTURE", "why")})
    outcomes = [
        (type(outcome), str(outcome)) if isinstance(outcome, PyshardError) else outcome for outcome in answer.outcomes()
    ]
    assert outcomes == [b"x", (PyshardError, "FROM_THE_FUTURE: why"), (WrongShard, "moved"), True]
    assert answer.results == [b"x", None, None, True]


@pytest.mark.parametrize("cls", BY_CODE.values())
def test_every_error_can_be_an_outcome(cls: type[PyshardError]) -> None:
    """An error that concerns one operation arrives as the class that it was."""
    answer = Answer([None])
    answer.refuse(0, cls("why"))
    (outcome,) = decode_answers(encode_answers([answer]), [Pop("", [b"a"])])[0].outcomes()
    assert (type(outcome), str(outcome)) == (cls, "why")


def test_remove_answers_with_a_records_head() -> None:
    """What `remove` answers with is the part of a record that holds its size."""
    record, size = document_encoding.encode("hello world")
    assert document_encoding.HEAD.size == HEAD_BYTES
    assert document_encoding.size_in(record[:HEAD_BYTES]) == size == 60


@given(st.lists(st.none() | st.booleans() | st.binary()))
def test_outcomes_without_errors_are_the_results(results: list[Result]) -> None:
    """Without errors, the outcomes are the results."""
    assert Answer(results).outcomes() == results
