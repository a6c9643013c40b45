"""The front of a batch: how much of it one step may have, by bytes of keys and by operations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write, part
from pyshard.shard.batch_front import front_of

FULL = "ANSWER_FULL"
KEYS = [b"aaaa", b"bb", b"", b"cccc", b"d"]

#: A run of each verb on these keys.
RUNS: list[Run] = [
    Read("pages", KEYS),
    Has("", KEYS),
    ReadItem("", KEYS),
    Write("", KEYS, [b"r"] * 5, None, [1, 2, 3, 4, 5]),
    Pop("", KEYS, [1, 2, 3, 4, 5]),
    Remove("", KEYS),
    Touch("", KEYS, [1, 2, 3, 4, 5]),
    Increment("", KEYS, [b"1"] * 5, [b"2"] * 5),
]


def merged(front_answers: Sequence[Answer], runs: Sequence[Run], most: int) -> list[tuple[list[object], list[int]]]:
    """Results, and the positions that are refused, of each run of a batch."""
    front = front_of(runs, most)
    assert front is not None
    answers = front.merge(front_answers)
    assert {code for answer in answers for code, _ in answer.errors.values()} <= {FULL}
    return [(list(answer.results), sorted(answer.errors)) for answer in answers]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: type(run).__name__)
@pytest.mark.parametrize(("most", "done"), [(1, 1), (4, 1), (5, 2), (6, 2), (7, 4), (10, 4), (11, None), (99, None)])
def test_of_one_run(run: Run, most: int, done: int | None) -> None:
    """The operation that reaches the bound is the last one; every verb counts, with all of its columns."""
    front = front_of([run], most)
    if done is None:
        assert front is None
    else:
        assert front is not None
        assert front.runs == [part(run, range(done))]


def test_over_all_runs() -> None:
    """The bound is on the whole batch, and all behind it is refused: none overtakes what is asked for again."""
    runs: list[Run] = [Has("", [b"abc"]), Has("", []), Pop("", [b"de", b"f"]), Has("", [b""]), Has("", [])]
    true, popped = Answer([True]), Answer([b"12345678r"])
    assert merged([true], runs, 3) == [([True], []), ([], []), ([None] * 2, [0, 1]), ([None], [0]), ([], [])]
    assert merged([true, Answer([]), popped], runs, 4)[2:] == [([b"12345678r", None], [1]), ([None], [0]), ([], [])]
    assert front_of(runs, 7) is None
    assert front_of([], 1) is None


def test_errors_of_the_front_stay() -> None:
    """What the store refuses of the front keeps its own error."""
    runs = [Has("", [b"abc", b"d", b"e"])]
    front = front_of(runs, 4)
    assert front is not None
    (answer,) = front.merge([Answer([None, True], {0: ("WRONG_SHARD", "elsewhere")})])
    assert answer.results == [None, True, None]
    assert {position: code for position, (code, _) in answer.errors.items()} == {0: "WRONG_SHARD", 2: FULL}


@given(st.lists(st.lists(st.binary(max_size=4), max_size=4), max_size=4), st.integers(1, 20))
def test_any_batch(columns: list[list[bytes]], most: int) -> None:
    """Operations are done until their keys have so many bytes, each other one is refused, and none is left out."""
    runs = [Has("", keys) for keys in columns]
    whole = [key for keys in columns for key in keys]
    ends = [sum(map(len, whole[: place + 1])) for place in range(len(whole))]
    done = next((place + 1 for place, end in enumerate(ends) if end >= most), len(whole))
    front = front_of(runs, most)
    if front is None:
        assert done == len(whole)
        return
    assert [key for run in front.runs for key in run.keys] == whole[:done]
    answers = front.merge([Answer([True] * len(run.keys)) for run in front.runs])
    assert [len(answer.results) for answer in answers] == list(map(len, columns))
    assert [one for answer in answers for one in answer.results] == [True] * done + [None] * (len(whole) - done)
    assert sum(len(answer.errors) for answer in answers) == len(whole) - done


@pytest.mark.parametrize("run", RUNS, ids=lambda run: type(run).__name__)
def test_so_many_operations(run: Run) -> None:
    """Of one run, and of several together; whichever bound is reached first counts."""
    for most in range(1, 5):
        front = front_of([run], 1000, most)
        assert front is not None
        assert front.runs == [part(run, range(most))]
    assert front_of([run], 1000, 5) is None
    front = front_of([Has("", [b"x", b"y"]), Has("", []), run, Has("", [b"z"])], 1000, 4)
    assert front is not None
    assert front.runs == [Has("", [b"x", b"y"]), Has("", []), part(run, range(2))]
    front = front_of([run], 4, 3)
    assert front is not None
    assert front.runs == [part(run, range(1))]
