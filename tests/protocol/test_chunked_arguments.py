"""Bytes of any length in chunks: there and back, and what a peer may get wrong."""

from __future__ import annotations

import pytest
from net.connection.ends import Echo, Pair, add, box, line

from pyshard.errors import BadRequest
from pyshard.protocol.boxes import Box
from pyshard.protocol.chunked_arguments import ChunkedBytes, put_chunks, take_chunks
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.commands import COMMANDS, Apply
from pyshard.settings import settings

CHUNK = 65_535


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 5_000_000])
def test_any_length_crosses(pair: Pair, length: int) -> None:
    """Bytes of any length arrive as they were sent, there and back."""
    data = bytes(range(251)) * (length // 251 + 1)
    data = data[:length]
    assert pair.ask(Echo, data=data) == {"data": data}


@pytest.mark.parametrize(
    ("data", "strings"),
    [
        (b"", {b"data": b"0"}),
        (b"abc", {b"data": b"1", b"data.0": b"abc"}),
        (b"x" * CHUNK, {b"data": b"1", b"data.0": b"x" * CHUNK}),
        (b"x" * CHUNK + b"y", {b"data": b"2", b"data.0": b"x" * CHUNK, b"data.1": b"y"}),
        (
            b"x" * CHUNK + b"y" * CHUNK + b"zz",
            {b"data": b"3", b"data.0": b"x" * CHUNK, b"data.1": b"y" * CHUNK, b"data.2": b"zz"},
        ),
    ],
    ids=["nothing", "little", "a chunk", "a chunk and a byte", "three chunks"],
)
def test_chunks(data: bytes, strings: dict[bytes, bytes]) -> None:
    """The argument's own key has the number of chunks, ``name.n`` has chunk n."""
    sent: dict[bytes, bytes] = {}
    ChunkedBytes().put(sent, b"data", data)
    assert sent == strings
    assert ChunkedBytes().take(strings, b"data") == data


def test_foreign_chunk_sizes() -> None:
    """A peer may cut chunks of any size: they are joined in their order."""
    strings = {b"data": b"3", b"data.2": b"c", b"data.0": b"a", b"data.1": b"", b"data.3": b"not announced"}
    assert ChunkedBytes().take(strings, b"data") == b"ac"


def test_too_many_bytes() -> None:
    """Where more than so many are never needed, more are refused before anybody reads them."""
    argument = ChunkedBytes(3)
    assert argument.take({b"data": b"2", b"data.0": b"ab", b"data.1": b"c"}, b"data") == b"abc"
    with pytest.raises(BadRequest, match=r"^data: found 4 bytes, expected 3 at the most$"):
        argument.take({b"data": b"2", b"data.0": b"ab", b"data.1": b"cd"}, b"data")


@pytest.mark.parametrize("command", [command for command in COMMANDS.values() if command is not Apply])
def test_what_is_decoded_is_bounded(command: type[Command]) -> None:
    """No command but that of batches takes as many bytes of an argument as a box may have."""
    for name, argument in command.arguments:
        if isinstance(argument, ChunkedBytes):
            box: dict[bytes, bytes] = {}
            argument.put(box, name, bytes(settings.MAX_STATE_BYTES + 1))
            with pytest.raises(BadRequest, match="at the most"):
                argument.take(box, name)


def test_optional_bytes() -> None:
    """Optional bytes that aren't given have no key, and arrive as None; empty ones arrive as empty."""
    argument = ChunkedBytes(optional=True)
    cases: list[tuple[bytes | None, dict[bytes, bytes]]] = [(None, {}), (b"", {b"data": b"0"})]
    for value, strings in cases:
        sent: dict[bytes, bytes] = {}
        argument.put(sent, b"data", value)
        assert sent == strings
        assert argument.take(strings, b"data") == value


def test_bytes_that_must_be_given(pair: Pair) -> None:
    """A caller that leaves them out gets an error, and sends nothing."""
    with pytest.raises(KeyError, match="data"):
        pair.ask(Echo)
    with pytest.raises(TypeError, match=r"^Echo has no argument date$"):
        pair.ask(Echo, date=b"")
    with pytest.raises(KeyError, match="data"):
        pair.ask(Echo, data=None)
    assert pair.ask(Echo, data=b"next") == {"data": b"next"}


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ({}, "data: found nothing, expected the number of its chunks, in decimal digits alone"),
        ({b"data": b""}, 'data: found "", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"-1"}, 'data: found "-1", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"1.0"}, 'data: found "1.0", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b" 1"}, 'data: found " 1", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"0x1"}, 'data: found "0x1", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"\xd9\xa1"}, 'data: found "\u0661", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"01"}, 'data: found "01", expected the number of its chunks, in decimal digits alone'),
        ({b"data": b"1000000"}, 'data: found "1000000", expected the number of its chunks, in decimal digits alone'),
        (
            {b"data": b"9" * 5000},
            f'data: found "{"9" * 47}...", expected the number of its chunks, in decimal digits alone',
        ),
        ({b"data": b"1"}, "data.0: found nothing, expected a chunk, since data says that there are 1"),
        (
            {b"data": b"999999", b"data.0": b""},
            "data.1: found nothing, expected a chunk, since data says that there are 999999",
        ),
        ({b"data": b"2", b"data.1": b""}, "data.0: found nothing, expected a chunk, since data says that there are 2"),
        (
            {b"data": b"3", b"data.0": b"", b"data.2": b""},
            "data.1: found nothing, expected a chunk, since data says that there are 3",
        ),
    ],
)
def test_wrong_chunks(strings: dict[bytes, bytes], message: str) -> None:
    """A wrong count of chunks, or a missing chunk, is the peer's mistake, and costs almost nothing."""
    with pytest.raises(BadRequest) as refused:
        ChunkedBytes().take(strings, b"data")
    assert str(refused.value) == message


def test_wrong_chunks_are_answered() -> None:
    """The peer gets an error, and the connection goes on."""
    one = line()
    one.protocol.dataReceived(box(_ask="1", _command="Echo", data=2) + add("2", 1, 2))
    refused, answered = one.answers()
    assert (refused[b"_error"], refused[b"_error_code"]) == (b"1", b"BAD_REQUEST")
    assert (
        refused[b"_error_description"] == b"data.0: found nothing, expected a chunk, since data says that there are 2"
    )
    assert answered == {b"_answer": b"2", b"sum": b"3"}
    assert not one.closed()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_chunks_of_a_box(size: int) -> None:
    """Bytes of any length, in values that AMP can carry."""
    box: Box = {}
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    put_chunks(box, b"data", data)
    assert max(map(len, box.values())) <= 65_535
    assert take_chunks(box, b"data") == data


@pytest.mark.parametrize(
    "box",
    [{}, {b"n": b""}, {b"n": b"x"}, {b"n": b"-1"}, {b"n": b"1"}, {b"n": b"2", b"n.0": b""}, {b"n": b"9" * 7}],
    ids=["none", "empty", "no number", "negative", "chunk missing", "second chunk missing", "too many"],
)
def test_no_chunks(box: Box) -> None:
    """A wrong count of chunks, and missing chunks, are refused."""
    with pytest.raises(BadRequest, match=r"^n(\.[01])?: found"):
        take_chunks(box, b"n")


def test_optional_chunks() -> None:
    """They may be missing as a whole; chunks without their number are a mistake, not nothing."""
    assert ChunkedBytes(optional=True).take({b"before": b"0"}, b"after") is None
    with pytest.raises(BadRequest, match=r"^after: found nothing, expected the number of its chunks"):
        ChunkedBytes(optional=True).take({b"after.0": b"key"}, b"after")
