"""What a hostile batch costs before it is refused: little time and little memory, whatever it announces."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.protocol.batch_encoding import decode_runs, encode_runs
from pyshard.protocol.batch_operations import Has, Read
from pyshard.settings import settings

MOST = settings.MAX_BATCH


def array(length: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + length.to_bytes(4, "big")


def peak_of_refusal(data: bytes, message: str) -> int:
    """Bytes that decoding takes beside the data; it must end in a refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match=message):
            decode_runs(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [MOST + 1, 1 << 24, 2**32 - 1])
@pytest.mark.parametrize(
    "head",
    [b"", b"\x91\x93\xa4read\xa0", b"\x91\x94\xa5write\xa0\x90", b"\x91\x94\xa5touch\xa0\x90"],
    ids=["runs", "keys", "records", "ttls"],
)
def test_announced_and_not_there(head: bytes, length: int) -> None:
    """The length that a list announces costs nothing by itself."""
    assert peak_of_refusal(head + array(length), "the batch can't be read") < 100_000


def test_many_empty_runs() -> None:
    """The number of runs is limited too, since 2.6 million runs without keys fit into a box."""
    run = msgspec.msgpack.encode(["has", "", []])
    assert peak_of_refusal(array(MOST + 1) + run * (MOST + 1), "length <= 10000") < 1 << 20
    assert decode_runs(array(MOST) + run * MOST) == [Has("", [])] * MOST


def test_many_runs_of_many_keys() -> None:
    """A large batch of short keys is refused by the lengths that it announces: decoded, 18 MiB would become 300."""
    run = msgspec.msgpack.encode(["read", "", [b"ab"] * MOST])
    found = f"the batch has {450 * MOST:,} operations; a batch has at most 10,000"
    assert peak_of_refusal(array(450) + run * 450, found) < 1 << 20


@pytest.mark.parametrize("count", [10, 1000, MOST])
def test_a_large_batch_that_is_fine(count: int) -> None:
    """A batch that is large enough to be counted first is counted right, whatever the form of its lists' heads."""
    keys = [b"k" * (2 * settings.BOX_BYTES // count)] * count
    assert decode_runs(encode_runs([Read("", keys)])) == [Read("", keys)]
    with pytest.raises(BadRequest, match="has 10,001 operations"):
        decode_runs(encode_runs([Read("", keys), Read("", [b""] * (MOST + 1 - count))]))


@pytest.mark.parametrize(
    "run",
    [["read", "", 5], ["read", ""], [], ["read", "", b"x"], ["read", "", ["x"]], ["read", "", [], *[[]] * 14]],
    ids=["keys are an int", "no keys", "nothing", "keys are bytes", "a key is text", "too many fields"],
)
def test_a_large_batch_that_is_none(run: list[object]) -> None:
    """Anything that is no run is refused in a large batch as in a small one."""
    large = ["read", "", [b"k" * 2 * settings.BOX_BYTES]]
    with pytest.raises(BadRequest, match="the batch can't be read"):
        decode_runs(msgspec.msgpack.encode([large, run]))
