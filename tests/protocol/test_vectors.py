"""docs/protocol-vectors.json says what the code does: every vector, in both directions where there are two.

The file is for clients in other languages. Nothing writes it: a change of the protocol changes it by hand.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, get_args

import attrs
import msgspec
import pytest
from blocks import CHECKOUT
from twisted.internet.protocol import Factory, Protocol

from pyshard.errors import BadRequest, InvalidIndexName, PyshardError, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_size import measure
from pyshard.model.key_slots import key_bytes, slot_of, slot_to_hash
from pyshard.protocol.argument_types import take_integer
from pyshard.protocol.batch_answers import ITEM, VERSION, decode_answers, encode_answers
from pyshard.protocol.batch_encoding import decode_runs, encode_runs
from pyshard.protocol.batch_operations import Run, verb_of
from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize
from pyshard.protocol.chunked_arguments import put_chunks, take_chunks
from pyshard.testing import MemoryCluster

VECTORS: dict[str, Any] = json.loads((CHECKOUT / "docs" / "protocol-vectors.json").read_text(encoding="ascii"))

#: The lists of the file, which docs/protocol.md explains one by one.
LISTS = [name for name in VECTORS if name not in ("format", "protocol", "page")]

VERBS = {run.__struct_config__.tag: run for run in get_args(Run)}


def each(name: str) -> Any:
    """Runs a test with each vector of a list."""
    return pytest.mark.parametrize("vector", VECTORS[name], ids=lambda vector: str(vector.get("what", vector))[:60])


def given(value: Any) -> Any:
    """A value as the file writes it: a text stands for its UTF-8, ``{"hex": …}`` and ``[count, hex]`` for bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if isinstance(value, list):
        return bytes.fromhex(value[1]) * value[0]
    return value


def document(tagged: list[Any]) -> Any:
    """A document as the file writes it: its type and its value."""
    kind, *rest = tagged
    read: dict[str, Callable[[Any], Any]] = {
        "bool": bool,
        "int": int,
        "float": lambda bits: struct.unpack(">d", bytes.fromhex(bits))[0],
        "str": str,
        "bin": bytes.fromhex,
        "array": lambda elements: list(map(document, elements)),
        "map": lambda pairs: {key: document(value) for key, value in pairs},
    }
    return read[kind](rest[0]) if rest else None


def runs(listed: list[list[Any]]) -> list[Run]:
    """Runs as the file writes them: numbers are texts, since many languages have no ints of 64 bits in JSON."""
    made: list[Run] = []
    for verb, index, *columns in listed:
        names = ("keys", *VERBS[verb].__struct_fields__[2:])
        values = {}
        for name, column in zip(names, columns, strict=False):
            number = name in ("conditions", "ttls")
            values[name] = column and [int(one) if number else given(one) for one in column]
        made.append(VERBS[verb](index, **values))
    return made


def test_the_page_explains_each_list() -> None:
    """docs/protocol.md has a row for each list of the file, in its order."""
    page = (CHECKOUT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("## Test vectors")[2]
    rows = [line.split("`")[1] for line in page.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    assert rows == LISTS


# -- values -----------------------------------------------------------------------------------------------------------


@each("slots")
def test_slots(vector: dict[str, Any]) -> None:
    """Index and key give the slot, and the slot the hash."""
    assert slot_of(vector["key"].encode(), vector["index"].encode()) == vector["slot"]
    assert struct.pack(">d", slot_to_hash(vector["slot"])).hex() == vector["hash"]


def test_slots_that_floats_miss() -> None:
    """The file has slots that come out wrong where hash × 10⁷ is truncated, and where it isn't rounded."""
    back = [(one["slot"], one["slot"] / 1e7 * 1e7) for one in VECTORS["slots"]]
    assert sum(product < slot for slot, product in back) >= 3
    assert sum(product > slot for slot, product in back) >= 3


@each("float_keys")
def test_float_keys(vector: dict[str, str]) -> None:
    """A float given as a key becomes the text."""
    (number,) = struct.unpack(">d", bytes.fromhex(vector["float"]))
    assert key_bytes(number).decode() == vector["key"]


def test_index_names() -> None:
    """Names that an index can have, and names that it can't."""
    for name in VECTORS["index_names"]["taken"]:
        assert check_index_name(name) == name
    for name in VECTORS["index_names"]["refused"]:
        with pytest.raises(InvalidIndexName):
            check_index_name(name)


@each("records")
def test_records(vector: dict[str, Any]) -> None:
    """A document gives the size and the record, and the record the document."""
    value, record = document(vector["document"]), bytes.fromhex(vector["record"])
    assert document_encoding.encode(value) == (record, vector["size"])
    assert measure(value) == vector["size"] == document_encoding.size_in(record)
    assert document_encoding.encode(document_encoding.decode(record))[0] == record  # which tells 1 from 1.0, and nan


@each("also_readable")
def test_records_that_others_write(vector: dict[str, Any]) -> None:
    """A record that pyshard's clients wouldn't write is read all the same."""
    read = document_encoding.decode(bytes.fromhex(vector["record"]))
    assert document_encoding.encode(read) == document_encoding.encode(document(vector["document"]))


def test_integers() -> None:
    """Texts that are an Integer, and texts that are none."""
    for text in VECTORS["integers"]["taken"]:
        assert take_integer({b"epoch": text.encode()}, b"epoch") == int(text)
    for text in VECTORS["integers"]["refused"]:
        with pytest.raises(BadRequest):
            take_integer({b"epoch": text.encode()}, b"epoch")


@each("chunks")
def test_chunks(vector: dict[str, Any]) -> None:
    """Bytes give these pairs, and the pairs the bytes."""
    name, data, box = vector["name"].encode(), given(vector["bytes"]), Box()
    put_chunks(box, name, data)
    assert list(box.items()) == [(key.encode(), given(value)) for key, value in vector["pairs"]]
    assert take_chunks(box, name) == data


# -- boxes, batches and answers, byte by byte -------------------------------------------------------------------------


@each("boxes")
def test_boxes(vector: dict[str, Any]) -> None:
    """Pairs in this order give the bytes, and the bytes the pairs, also byte by byte."""
    box = {key.encode(): given(value) for key, value in vector["pairs"]}
    data = bytes.fromhex(vector["bytes"])
    assert serialize(box) == data
    parser = BoxParser(Limits())
    for byte in data[:-1]:
        parser.feed(bytes([byte]))
        assert parser.next_box() is None
    parser.feed(data[-1:])
    assert parser.next_box() == box


@each("batches")
def test_batches(vector: dict[str, Any]) -> None:
    """Runs give the bytes, and the bytes the runs."""
    data = bytes.fromhex(vector["bytes"])
    assert decode_runs(data) == runs(vector["runs"])
    # A column at the end that is nil may be left out, as the file does; pyshard's clients send it.
    assert msgspec.msgpack.decode(encode_runs(runs(vector["runs"])), type=list[Run]) == runs(vector["runs"])
    assert (
        msgspec.msgpack.encode(_without_nil_at_the_end(msgspec.msgpack.decode(encode_runs(runs(vector["runs"])))))
        == data
    )


def _without_nil_at_the_end(listed: list[list[Any]]) -> list[list[Any]]:
    for run in listed:
        while run[-1] is None:
            run.pop()
    return listed


@each("answers")
def test_answers(vector: dict[str, Any]) -> None:
    """The bytes give results and refusals, and these the bytes."""
    answers = decode_answers(bytes.fromhex(vector["answers"]), decode_runs(bytes.fromhex(vector["batch"])))
    expected = [
        ([given(result) for result in run["results"]], {int(at): tuple(error) for at, error in run["errors"].items()})
        for run in vector["runs"]
    ]
    assert [(answer.results, answer.errors) for answer in answers] == expected
    if "newer" not in vector["what"]:
        assert encode_answers(answers) == bytes.fromhex(vector["answers"])


# -- daemons ----------------------------------------------------------------------------------------------------------


class Peer(Protocol):
    """A connection whose other side is the test, byte by byte."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True

    def boxes(self) -> list[Box]:
        """The boxes that have come."""
        parser = BoxParser(Limits())
        parser.feed(self.received)
        self.received = b""
        return list(iter(parser.next_box, None))


@attrs.frozen
class Daemons:
    """A new cluster of one shard, as the page says, and a connection to each of its daemons."""

    cluster: MemoryCluster

    def connect(self, kind: str) -> Peer:
        """A new connection."""
        where = {"shard": ("127.0.0.1", 5050), "bootstrap": ("localhost", 9192)}[kind]
        peer = self.cluster.run(self.cluster.network.dial(*where).connect(Factory.forProtocol(Peer)))
        assert isinstance(peer, Peer)
        return peer

    def ask(self, peer: Peer, box: Box) -> Box:
        """What is answered to a box."""
        assert peer.transport is not None
        peer.transport.write(serialize({b"_ask": b"1", **box}))
        self.cluster.network.settle()
        (answer,) = peer.boxes()
        return answer

    def apply(self, peer: Peer, batch: bytes) -> Box:
        """What is answered to a batch."""
        box = {b"_command": b"Apply", b"epoch": b"0"}
        put_chunks(box, b"batch", batch)
        return self.ask(peer, box)


@pytest.fixture(scope="module")
def daemons() -> Iterator[Daemons]:
    """For all vectors, one after the other."""
    with MemoryCluster(shards=1) as cluster:
        yield Daemons(cluster)


def fits(result: Any, expected: Any) -> bool:
    """Whether a result is what the file expects: a version may be any, and the rest of a time to live may be less."""
    if not isinstance(expected, dict) or "error" in expected:
        return bool(result == expected)
    record = bytes.fromhex(expected["record"])
    if "ttl" not in expected:
        return result in (record, result[: VERSION.size] + record)
    version, expires, rest = ITEM.unpack_from(result)
    ttl = expected["ttl"]
    times_fit = (expires, rest) == (0, 0) if ttl is None else expires > 0 and 0 < rest <= ttl
    return result[ITEM.size :] == record and version > 0 and times_fit


def test_a_shard_answers_so(daemons: Daemons) -> None:
    """One batch after the other, on a shard that is new: each operation has the result, or the refusal."""
    peer = daemons.connect("shard")
    for vector in VECTORS["shard"]:
        batch = bytes.fromhex(vector["bytes"])
        assert decode_runs(batch) == runs(vector["runs"])
        answer = daemons.apply(peer, batch)
        answers = decode_answers(take_chunks(answer, b"answers"), decode_runs(batch))
        for run, one, expected in zip(runs(vector["runs"]), answers, vector["expected"], strict=True):
            outcomes = [{"error": it.code} if isinstance(it, PyshardError) else it for it in one.outcomes()]
            for outcome, wanted in zip(outcomes, expected, strict=True):
                assert fits(outcome, wanted), (vector["what"], verb_of(run), outcome, wanted)


@each("refused_batches")
def test_refused_batches(daemons: Daemons, vector: dict[str, str]) -> None:
    """A batch that is none is refused as a whole, with this code."""
    answer = daemons.apply(daemons.connect("shard"), bytes.fromhex(vector["bytes"]))
    assert answer[b"_error_code"].decode() == vector["code"]


@each("refusals")
def test_refusals(daemons: Daemons, vector: dict[str, Any]) -> None:
    """A box is refused with this code, and the connection goes on."""
    peer = daemons.connect(vector["to"])
    answer = daemons.ask(peer, {key.encode(): given(value) for key, value in vector["pairs"]})
    assert (answer[b"_error"], answer[b"_error_code"].decode()) == (b"1", vector["code"])
    assert daemons.ask(peer, {b"_command": b"Ping"}) == {b"_answer": b"1"}


@each("broken_boxes")
def test_broken_boxes(daemons: Daemons, vector: dict[str, str]) -> None:
    """Bytes that break the framing end the connection, without an answer."""
    peer = daemons.connect("shard")
    assert peer.transport is not None
    peer.transport.write(bytes.fromhex(vector["bytes"]))
    daemons.cluster.network.settle()
    assert (peer.lost, peer.boxes()) == (True, [])


@each("bad_records")
def test_bad_records(daemons: Daemons, vector: dict[str, str]) -> None:
    """What no client may write: readers refuse what is no document, shards what they can tell by its first bytes."""
    record = bytes.fromhex(vector["record"])
    with pytest.raises(UnreadableRecord) if vector["reader"] == "refuses" else nullcontext():
        document_encoding.decode(record)
    batch = msgspec.msgpack.encode([["write", "", [b"bad"], [record]]])
    answer = daemons.apply(daemons.connect("shard"), batch)
    assert answer.get(b"_error_code") == (b"BAD_REQUEST" if vector["shard"] == "refuses" else None)
