"""Answers that no shard gives: each is refused, and none is taken for another answer."""

from __future__ import annotations

import pytest

from pyshard.errors import BadRequest
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, Result, decode_answers, encode_answers
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write, verb_of

KEYS = [b"a", b"b"]
REFUSED = ("SHARD_FULL", "why")
SHORT, LONG = bytes(VERSION.size - 1), bytes(ITEM.size + 9)

#: A run of each verb, results that it can have, and results that it can't.
VERBS: list[tuple[Run, list[Result], list[Result]]] = [
    (Read("", KEYS), [None, bytes(VERSION.size), LONG], [True, False, b"", SHORT]),
    (Has("", KEYS), [True, False], [None, b"", LONG]),
    (ReadItem("", KEYS), [None, bytes(ITEM.size), LONG], [True, False, b"", bytes(ITEM.size - 1)]),
    (Write("", KEYS, [b"r", b"r"]), [True, False], [None, b"", LONG]),
    (Pop("", KEYS), [None, bytes(VERSION.size), LONG], [True, False, b"", SHORT]),
    (Remove("", KEYS), [None, b"", LONG], [True, False]),
    (Touch("", KEYS, [1, 1]), [True, False], [None, b"", LONG]),
    (Increment("", KEYS, [b"1", b"1"], [b"1", b"1"]), [b"", LONG], [None, True, False]),
]


def decoded(run: Run, answer: Answer) -> Answer:
    """The answer to a run when it has crossed the wire."""
    (arrived,) = decode_answers(encode_answers([answer]), [run])
    return arrived


@pytest.mark.parametrize(("run", "good", "bad"), VERBS, ids=[type(run).__name__ for run, *_ in VERBS])
def test_results_of_each_verb(run: Run, good: list[Result], bad: list[Result]) -> None:
    """Results that the verb can have pass, also beside a refused operation; any other result is refused."""
    for one in good:
        assert decoded(run, Answer([one, good[0]])).results == [one, good[0]]
        assert decoded(run, Answer([None, one], {0: REFUSED})).results == [None, one]
        for other in bad:
            for results in ([one, other], [other, one]):
                with pytest.raises(BadRequest, match=f"^the answers have .* to {verb_of(run)}"):
                    decoded(run, Answer(results))


@pytest.mark.parametrize(("run", "good", "bad"), [verb for verb in VERBS if None in verb[2]])
def test_no_result_at_another_place_than_the_error(run: Run, good: list[Result], bad: list[Result]) -> None:
    """An operation without result and error is refused, also when another one has both."""
    with pytest.raises(BadRequest, match="neither result nor error"):
        decoded(run, Answer([good[0], None], {0: REFUSED}))


def test_many_sizes() -> None:
    """The message shows the sizes that don't fit, but not all of a million."""
    with pytest.raises(BadRequest) as refused:
        decode_answers(encode_answers([Answer([])] * 10_000), [Read("", KEYS)])
    assert len(str(refused.value)) < 200
