"""Bytes that are no batch, no answers or no keys: each is refused, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.batch_operations.samples import BYTES, texts

from pyshard.errors import BadRequest
from pyshard.protocol.batch_answers import Answer, decode_answers
from pyshard.protocol.batch_encoding import decode_runs
from pyshard.protocol.batch_operations import Read
from pyshard.protocol.pages import decode_keys


def decode_one_answer(data: bytes) -> list[Answer]:
    """Answers to a batch of one run with one key."""
    return decode_answers(data, [Read("", [b"a"])])


Decoder = Callable[[bytes], Any]


@pytest.mark.parametrize(
    ("decode", "what"), [(decode_runs, "batch"), (decode_one_answer, "answers"), (decode_keys, "keys")]
)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\x01",
        b"\xa1a",
        b"\x90\x90",
        b"\x91",
        b"\x91\xc0",
        b"\x91\xa1a",
        b"\x91\xa1\xff",
        b"\x91\x90",
        b"\xdd\xff\xff\xff\xff",
        pytest.param(b"\x91" * 100_000, id="nested 100,000 deep"),
    ],
)
def test_nothing_at_all(decode: Decoder, what: str, data: bytes) -> None:
    """Bytes that are neither batch, answers nor keys are refused by each decoder."""
    with pytest.raises(BadRequest, match=rf"^the {what} can't be read: ."):
        decode(data)


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(b"\x93\xa4nope\xa0\x90", id="unknown verb"),
        pytest.param(b"\x93\xa4\xff\xff\xff\xff\xa0\x90", id="verb that is no UTF-8"),
        pytest.param(b"\x93\x01\xa0\x90", id="verb that is no text"),
        pytest.param(b"\x92\xa4read\xa0", id="no keys"),
        pytest.param(b"\x93\xa5write\xa0\x90", id="no records"),
        pytest.param(b"\x93\xa4read\xc0\x90", id="index that is no text"),
        pytest.param(b"\x93\xa4read\xa1\xff\x90", id="index that is no UTF-8"),
        pytest.param(b"\x93\xa4read\xa0\x91\xa1a", id="key that is no binary"),
        pytest.param(b"\x93\xa4read\xa0\xc4\x01a", id="keys that are no array"),
        pytest.param(b"\x94\xa5write\xa0\x91\xc4\x01a\x91\xc0", id="record that is no binary"),
        pytest.param(b"\x95\xa5write\xa0\x90\x90\x91\xa1a", id="condition that is no int"),
        pytest.param(b"\x94\xa3pop\xa0\x90\x91\xcb" + b"\0" * 8, id="condition that is a float"),
        pytest.param(b"\x93\xa5touch\xa0\x90", id="no times to live"),
        pytest.param(b"\x94\xa5touch\xa0\x91\xc4\x01a\xc0", id="times to live that are nil"),
        pytest.param(b"\x94\xa9increment\xa0\x90\x90", id="no initial values"),
        pytest.param(b"\x94\xa3add\xa0\x90\x90", id="verb of an older version"),
        pytest.param(b"\x94\xa4read\xa0\x90" + b"\x91" * 100_000, id="later field nested 100,000 deep"),
    ],
)
def test_broken_run(run: bytes) -> None:
    """A run that breaks the form is refused, also behind a good one."""
    for data in (b"\x91" + run, b"\x92\x93\xa3has\xa0\x90" + run):
        with pytest.raises(BadRequest, match=r"^the batch can't be read: ."):
            decode_runs(data)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x91\x91\x01", id="result that is an int"),
        pytest.param(b"\x91\x91\xa1a", id="result that is a text"),
        pytest.param(b"\x92\x91\xc0\x90", id="errors that are no map"),
        pytest.param(b"\x92\x91\xc0\x81\xa1a\x92\xa1a\xa1a", id="position that is no int"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x91\xa1a", id="error without a message"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x93\xa1a\xa1a\xa1a", id="error with more than a message"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x92\xa1\xff\xa1a", id="code that is no UTF-8"),
        pytest.param(b"\x92\x91\xc0\x81\x00\x92\xa1a\xa1\xff", id="message that is no UTF-8"),
        pytest.param(b"\x93\x91\xc0\x80" + b"\x91" * 100_000, id="later field nested 100,000 deep"),
    ],
)
def test_broken_answer(answer: bytes) -> None:
    """An answer that breaks the form is refused."""
    with pytest.raises(BadRequest, match=r"^the answers can't be read: ."):
        decode_one_answer(b"\x91" + answer)


anything: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(0, 3), inner),
    max_leaves=10,
)


damaged = st.builds(
    lambda at, some: BYTES[:at] + some + BYTES[at + len(some) :], st.integers(0, len(BYTES)), st.binary(max_size=4)
)


@given(st.binary() | st.builds(msgspec.msgpack.encode, anything) | damaged)
def test_garbage_is_a_bad_request(data: bytes) -> None:
    """Whatever the bytes are, decoding them raises nothing but BadRequest."""
    decoders: list[Decoder] = [decode_runs, decode_one_answer, decode_keys]
    for decode in decoders:
        with suppress(BadRequest):
            decode(data)


def test_a_refusal_is_one_line() -> None:
    """What a refusal quotes of the peer's bytes is printable and has no line break."""
    with pytest.raises(BadRequest) as refused:
        decode_runs(msgspec.msgpack.encode([["re\n\x1b[31mad", "", []]]))
    assert str(refused.value) == (
        r"the batch can't be read: run 0, verb: found 're\n\x1b[31mad', expected one of read, has, item, write, pop, "
        "remove, touch, increment"
    )
