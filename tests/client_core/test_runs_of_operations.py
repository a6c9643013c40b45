"""Single operations as runs, and answers as their outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.client_core.operation import Operation
from pyshard.client_core.runs_of_operations import outcome_in, outcomes_of_runs, runs_of
from pyshard.compiled import IN_USE
from pyshard.errors import BadRequest
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, Result, decode_answers, encode_answers

_RECORD = document_encoding.encode({"url": "https://example.org", "tags": ["a", None, 1.5]})[0]

#: By verb what a shard may answer.
RESULTS: dict[str, list[Result]] = {
    "read": [VERSION.pack(7) + _RECORD, None, VERSION.pack(7) + b"no record", VERSION.pack(7)],
    "pop": [VERSION.pack(7) + _RECORD, None],
    "item": [ITEM.pack(7, 0, 0) + _RECORD, None],
    "has": [True, False],
    "write": [True, False],
    "remove": [_RECORD[:5], None],
    "touch": [True, False],
    "increment": [document_encoding.encode(4)[0]],
}


def operation_of(verb: str, key: bytes = b"key") -> Operation:
    """An operation of a verb."""
    return Operation(verb, "", key, 4_000_000, 9.0, 3, _RECORD, 30)


@pytest.mark.parametrize("verb", RESULTS)
def test_an_outcome_at_once_is_that_of_the_plain_way(verb: str) -> None:
    """Whatever a shard answers to a single operation; a document that was read, or stored, is known at once."""
    operation = operation_of(verb)
    runs = runs_of([operation])
    for result in RESULTS[verb]:
        data = encode_answers([Answer([result], {})])
        expected = outcomes_of_runs(runs, [operation], decode_answers(data, runs))
        found = outcome_in(data, runs, [operation])
        assert found is None or repr(found) == repr(expected)
        is_whole = verb in {"read", "pop"} and (result is None or str(result).find("url") >= 0)
        assert (found is not None) == ((IN_USE and is_whole) or (verb == "write" and result is True))


def test_what_has_to_be_decoded_first() -> None:
    """An error, and what answers several operations, are left to the plain way."""
    one, other = operation_of("read"), operation_of("read", b"other")
    refused = encode_answers([Answer.refusing(1, BadRequest("no"))])
    assert outcome_in(refused, runs_of([one]), [one]) is None
    both = encode_answers([Answer([None, None], {})])
    too_few = encode_answers([Answer([None], {})])
    assert outcome_in(both, runs_of([one, other]), [one, other]) is None
    assert outcome_in(too_few, runs_of([one, other]), [one, other]) is None
    assert outcome_in(both, runs_of([one]), [one]) is None


@given(st.binary(max_size=60))
def test_any_bytes_as_an_answer(data: bytes) -> None:
    """They give an outcome only where they are an answer without errors."""
    one = operation_of("read")
    if outcome_in(b"\x91\x92\x91" + data, runs_of([one]), [one]) is not None:
        [answer] = decode_answers(b"\x91\x92\x91" + data, runs_of([one]))
        assert not answer.errors
