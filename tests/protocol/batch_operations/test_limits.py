"""What a hostile batch costs before it is refused: little time and little memory, whatever it announces."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.protocol.batch_encoding import decode_readers_runs, decode_runs, encode_runs
from pyshard.protocol.batch_operations import Has, Pop, Read, Write
from pyshard.settings import settings

MOST, MOST_RUNS = settings.MAX_BATCH, settings.MAX_RUNS


def array(length: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + length.to_bytes(4, "big")


def peak_of_refusal(data: bytes, message: str, decode: Callable[[bytes], object] = decode_runs) -> int:
    """Bytes that decoding takes beside the data; it must end in a refusal."""
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest) as refused:  # `match` would be compiled meanwhile
            decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert re.search(message, str(refused.value))
    return peak


@pytest.mark.parametrize("length", [MOST + 1, 1 << 24, 2**32 - 1])
@pytest.mark.parametrize(
    "head",
    [b"", b"\x91\x93\xa4read\xa0", b"\x91\x94\xa5write\xa0\x90", b"\x91\x94\xa5touch\xa0\x90"],
    ids=["runs", "keys", "records", "ttls"],
)
def test_announced_and_not_there(head: bytes, length: int) -> None:
    """The length that a list announces costs nothing by itself."""
    assert peak_of_refusal(head + array(length), "the batch can't be read") < 100_000


@pytest.mark.parametrize("decode", [decode_runs, decode_readers_runs], ids=["any peer's", "a reader's"])
@pytest.mark.parametrize("keys", [[], [b"key"]], ids=["empty", "of one key"])
def test_many_runs(decode: Callable[[bytes], object], keys: list[bytes]) -> None:
    """Runs are counted, before any is decoded: 10,000 of them, in 139 kB, blocked a shard for 0.37 s."""
    run = msgspec.msgpack.encode(["has", "", keys])
    found = "^the batch can't be read: found 1,001 runs, expected at most 1,000; put operations of one verb and index"
    assert peak_of_refusal(array(MOST_RUNS + 1) + run * (MOST_RUNS + 1), found, decode) < 20_000  # decoded, 100 kB
    assert decode(array(MOST_RUNS) + run * MOST_RUNS) == [Has("", keys)] * MOST_RUNS


def test_many_runs_of_many_keys() -> None:
    """A large batch of short keys is refused by the lengths that it announces: decoded, 18 MiB would become 300."""
    run = msgspec.msgpack.encode(["read", "", [b"ab"] * MOST])
    found = f"the batch has {450 * MOST:,} operations; a batch has at most 10,000"
    assert peak_of_refusal(array(450) + run * 450, found) < 1 << 20


@pytest.mark.parametrize("decode", [decode_runs, decode_readers_runs], ids=["any peer's", "a reader's"])
@pytest.mark.parametrize(
    ("run", "column"),
    [
        (["pop", "", [], [300] * MOST], "conditions"),
        (["remove", "", [], [300] * MOST], "conditions"),
        (["touch", "", [], [300] * MOST], "ttls"),
        (["touch", "", [], [], [300] * MOST], "conditions"),
        (["write", "", [], [b"ab"] * MOST], "records"),
        (["write", "", [], [], [300] * MOST], "conditions"),
        (["write", "", [], [], None, [300] * MOST], "ttls"),
        (["increment", "", [], [b"ab"] * MOST], "amounts"),
        (["increment", "", [], [], [b"ab"] * MOST], "initials"),
        (["increment", "", [], [], [], [300] * MOST], "ttls"),
    ],
)
def test_many_runs_of_columns_without_keys(run: list[object], column: str, decode: Callable[[bytes], object]) -> None:
    """Every column is counted before any is decoded: 18 MiB of conditions became 220 MiB, and 700 beside a store."""
    packed = msgspec.msgpack.encode(run)
    number = min(MOST_RUNS, 18 * 2**20 // len(packed))
    found = rf"run 0 \({run[0]}\), {column}: found 10,000 elements, expected 0"
    assert peak_of_refusal(array(number) + packed * number, found, decode) < 1 << 20


def test_a_small_batch_of_columns_without_keys() -> None:
    """One that isn't counted first takes a bounded multiple of what a client puts into a box."""
    run = msgspec.msgpack.encode(["pop", "", [], [300] * MOST])
    number = settings.BOX_BYTES // len(run)
    assert peak_of_refusal(array(number) + run * number, "expected 0") < 16 * settings.BOX_BYTES


@pytest.mark.parametrize("size", [1, 2000])
def test_what_a_reader_may_not_do_is_not_decoded(size: int) -> None:
    """Of a run that would change something only the keys are counted, whatever else is in it."""
    run = ["write", "", [b"k" * size] * 1000, [b"r" * size] * 1000, [300] * 1000, [300] * 1000]
    data = msgspec.msgpack.encode([["read", "", [b"a"]], run, ["pop", 5, [{}, None], "x"]])
    tracemalloc.start()
    try:
        assert decode_readers_runs(data) == [Read("", [b"a"]), 1000, 2]
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([["pop", "", 5]], r"run 0 \(pop\), keys: found something else, expected array"),
        ([["read", "", []], ["pop", ""]], r"run 1 \(pop\): found 2 elements, expected at least 3"),
        ([["pop", "", []], ["read", "", [5]]], r"run 1 \(read\), keys, element 0: found int, expected bin"),
        ([["pup", "", []]], r"found 'pup', expected one of read, has"),
        ([["read", "", [b"a"] * MOST], ["pop", "", [b"a"]]], "has 10,001 operations"),
        ([["pop", "", [b"a"] * MOST], ["pop", "", [b"a"]]], "has 10,001 operations"),
        ([["pop", "", [b""] * (MOST + 1)]], "has 10,001 operations"),
    ],
)
def test_a_readers_batch_that_is_none(runs: list[object], message: str) -> None:
    """It is refused as anyone else's, as far as it is looked at."""
    with pytest.raises(BadRequest, match=message):
        decode_readers_runs(msgspec.msgpack.encode(runs))


def test_a_large_batch_with_every_column() -> None:
    """A batch that is counted first may have each column, or nil in its place."""
    key, record = [b"k"], [b"\1\0\0\0\1" + bytes(2 * settings.BOX_BYTES)]
    for run in [Write("", key, record, [1], [1]), Write("", key, record, None, [1]), Write("", key, record)]:
        assert decode_runs(encode_runs([run, Pop("", key, [1])])) == [run, Pop("", key, [1])]


@pytest.mark.parametrize("count", [10, 1000, MOST])
def test_a_large_batch_that_is_fine(count: int) -> None:
    """A batch that is large enough to be counted first is counted right, whatever the form of its lists' heads."""
    keys, records = [b"k"] * count, [b"\1\0\0\0\1" + bytes(2 * settings.BOX_BYTES // count)] * count
    run = Write("", keys, records)
    assert decode_runs(encode_runs([run])) == [run]
    with pytest.raises(BadRequest, match="has 10,001 operations"):
        decode_runs(encode_runs([run, Read("", [b""] * (MOST + 1 - count))]))


@pytest.mark.parametrize("decode", [decode_runs, decode_readers_runs])
def test_a_long_key_of_a_large_batch(decode: Callable[[bytes], object]) -> None:
    """A key that nobody can store is refused also where it is only read, if the batch is large."""
    fine = Has("", [b"k" * settings.MAX_KEY_BYTES] * 20)
    assert decode(encode_runs([fine])) == [fine]
    few = Has("", [b"k" * (settings.MAX_KEY_BYTES + 1)])
    assert decode(encode_runs([few])) == [few]
    with pytest.raises(BadRequest, match=r"^the batch has a key of more than 65,536 bytes$"):
        decode(encode_runs([Has("", [b"k"]), fine, few]))


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
