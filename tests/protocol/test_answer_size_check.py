"""What a shard may answer, at the most: exactly what was asked for, and no more records than an honest shard gives."""

from __future__ import annotations

import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.protocol.answer_size_check import check_announced, check_records, check_texts
from pyshard.protocol.batch_answers import Answer, decode_answers, encode_answers
from pyshard.protocol.batch_operations import Has, Read, Run
from pyshard.protocol.message_pack_heads import array_length, map_length
from pyshard.settings import settings

KEYS = [b"k"] * 400
READ, HAS = Read("", KEYS), Has("", KEYS)
RECORDS = [bytes(1000)] * 400
REFUSED = ("SHARD_FULL", "w" * 500)


def check(answers: list[object], runs: list[Run]) -> None:
    """Check what answers announce, which are large enough to be looked at."""
    data = msgspec.msgpack.encode(answers)
    assert len(data) > 1 << 16
    check_announced(data, runs)


@pytest.mark.parametrize(
    ("answers", "runs"),
    [
        ([[RECORDS, {}]], [READ]),
        ([[RECORDS]], [READ]),
        ([[RECORDS, {}], [[True] * 400, {}]], [READ, HAS]),
        ([[[None] * 400, dict.fromkeys(range(400), REFUSED)]], [READ]),
        ([[RECORDS, {}, "new", 5]], [READ]),
    ],
    ids=["records", "no errors", "two runs", "errors alone", "fields of a newer shard"],
)
def test_what_was_asked_for(answers: list[object], runs: list[Run]) -> None:
    """One answer for each run, one result for each key, and at most one error for each."""
    check(answers, runs)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[RECORDS, {}], [[], {}]], "^found 2 answers, expected one for each of the 1 runs that were sent$"),
        ({"": RECORDS}, "^found 0 answers, expected one for each of the 1 runs"),
        ([[[*RECORDS, None], {}]], "^found 401 results in an answer, expected one for each of 400 keys$"),
        ([[RECORDS[1:], {}]], "^found 399 results in an answer"),
        ([[{}, RECORDS]], "^found 0 results in an answer"),
        (
            [[RECORDS, dict.fromkeys(range(401), REFUSED)]],
            "^found 401 errors in an answer, expected at most one for each",
        ),
    ],
)
def test_what_was_not(answers: list[object], message: str) -> None:
    """Anything else is refused by its heads."""
    with pytest.raises(BadRequest, match=message):
        check(answers, [READ])


@pytest.mark.parametrize("data", [b"\xc1" * 70_000, b"\x91" * 70_000, b"\x91\xc4", b"\x91" + bytes(70_000)])
def test_no_answers(data: bytes) -> None:
    """Bytes that are no answers are refused as such."""
    with pytest.raises(BadRequest):
        decode_answers(data, [READ])


@pytest.mark.parametrize("large", [0, settings.MAX_DOCUMENT_BYTES])
def test_records_of_one_answer(large: int) -> None:
    """Records have at most twice what a shard puts into an answer, beside the largest."""
    others = [bytes(2 * settings.ANSWER_BYTES // 400)] * 400
    largest = bytes(max(large, len(others[0])))
    data = bytes(2 * settings.ANSWER_BYTES + 1)
    check_records(data, [*others, largest, None])
    with pytest.raises(BadRequest, match=f"found 402 records with .* bytes .* at most {2 * settings.ANSWER_BYTES:,}$"):
        check_records(data, [*others, largest, bytes(2 * settings.ANSWER_BYTES - sum(map(len, others)) + 1), True])
    check_records(b"", [*others, *others])


def test_texts_of_errors() -> None:
    """They have at most four times what a shard puts into an answer; what it puts there passes, whatever it refuses."""
    keys = [b"k"] * settings.MAX_BATCH
    odd = {place: ("SHARD_FULL", f"{place}" + "\x7f" * 1000) for place in range(len(keys))}
    honest = encode_answers([Answer([None] * len(keys), odd)])
    [answer] = decode_answers(honest, [Read("", keys)])
    assert len(answer.refusals()) == len(keys)
    data = msgspec.msgpack.encode([[[None] * len(keys), odd]])
    with pytest.raises(BadRequest, match=r"found .* characters of errors .*, expected at most 1,048,576$"):
        decode_answers(data, [Read("", keys)])
    check_texts(data, ["x" * 4 * settings.ERROR_BYTES])


def test_a_full_answer() -> None:
    """The fullest answer of an honest shard passes: records up to the limit, and behind them the largest document."""
    records = [bytes(settings.ANSWER_BYTES // 399)] * 399 + [bytes(settings.MAX_DOCUMENT_BYTES + 13)]
    answer = Answer([*records], {})
    assert decode_answers(encode_answers([answer]), [READ]) == [answer]


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_heads(length: int) -> None:
    """The length of an array or map, in each form; None of anything else."""
    array = msgspec.msgpack.encode([None] * length)
    pairs = msgspec.msgpack.encode(dict.fromkeys(range(length)))
    assert (array_length(array), map_length(array)) == (length, None)
    assert (array_length(pairs), map_length(pairs)) == (None, length)
    assert array_length(msgspec.msgpack.decode(array, type=msgspec.Raw)) == length
    assert array_length(b"") is None
