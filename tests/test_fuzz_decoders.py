"""Everything that reads bytes from others, given spoilt ones: a value, or the error that it promises, and no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from types import NoneType
from typing import Any
from zlib import crc32

import pytest
from config_files import file_with
from fuzzing import DOCUMENTS, Hostile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from owed_answers import owed
from stores import folder
from twisted.protocols import amp

from pyshard.backup import manifest, verify
from pyshard.backup.manifest import FileEntry, Manifest
from pyshard.backup.new_backup import BLOCK
from pyshard.bootstrap import state_file
from pyshard.client_core.result_decoding import outcomes_of
from pyshard.errors import BackupDamaged, BadRequest, ConfigError, NotANumber, PyshardError, UnreadableRecord
from pyshard.model import cluster_state, cluster_state_json, config_file, document_encoding
from pyshard.model.bulk_document_encoding import decode_many
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.argument_types import take_integer
from pyshard.protocol.batch_answers import Answer, decode_answers, encode_answers
from pyshard.protocol.batch_encoding import decode_readers_runs, decode_runs, encode_runs
from pyshard.protocol.batch_operations import Has, Increment, Read, ReadItem, Run, Touch, Write
from pyshard.protocol.boxes import Box, BoxBreach, BoxParser, Limits, serialize
from pyshard.protocol.chunked_arguments import take_chunks
from pyshard.protocol.pages import Row, decode_keys, decode_rows, encode_keys, encode_rows
from pyshard.security import tokens_and_roles

MORE = int(os.environ.get("PYSHARD_TEST_FUZZ", "1"))
EXAMPLES = settings(max_examples=40 * MORE)

NIL = b"\x01\0\0\0\x10\xc0"
RUNS: list[Run] = [
    Read("", [b"a", b"b"]), Has("pages", [b"a"]), ReadItem("", [b"c"]), Write("", [b"d"], [NIL], [-1], [5]),
    Touch("", [b"e"], [7], [-2]), Increment("", [b"f"], [b"1"], [b"2"], [9]),
]  # fmt: skip
ANSWERS = [
    Answer([bytes(9), None]), Answer([True]), Answer([bytes(30)]), Answer([None], {0: ("SHARD_FULL", "why")}),
    Answer([False]), Answer([b"\x01"]),
]  # fmt: skip
#: What the callers of each verb are given, if no error.
GIVEN: dict[type[Run], tuple[type, ...]] = {
    Read: (dict, NoneType),
    Has: (bool,),
    ReadItem: (dict, NoneType),
    Write: (int,),
    Touch: (bool,),
    Increment: (object,),
}
LAST = SLOTS - 5
STATE = cluster_state.ClusterState(
    "c1",
    7,
    ShardMap([MapShard("a", ((0, LAST),), 9, "h", 1, "1d", True), MapShard("b", ((LAST, SLOTS),), 9, "h", 2)]),
    {"pages": 1},
    2,
)
ROWS = [Row(0, b"k", 0, b"\x01\0\0\0\0\x01"), Row(1, b"long" * 50, 9, b"\x01\0\0\0\0\xa1x")]
DOCUMENT = {"a": [1, 2.5, None, True, "text", b"bytes", 2**70], "b": {"c": -1}}

#: What is put into spoilt bytes: lengths that aren't there, numbers past every bound, depth, text that is none.
SPLINTERS = [
    b"", b"\0", b"\xff", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\x91" * 2000,
    b"\x81" * 2000, b"[" * 5000, b'{"a":' * 5000, b"9" * 30, b"9" * 500, b"-1", b"1e400", b"NaN", b'"\\ud800"', b"null",
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xd6\xff\0\0\0\0", b"\xc7\xff\x01", b"\xa2\xff\xff", b"\n", b" ",
]  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, data: bytes) -> bytes:
    """These bytes after some edits; or none of them."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=50))
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(data))), draw(st.sampled_from([0, 0, 1, 1, 2, 4, 1000]))
        splinter = draw(st.sampled_from(SPLINTERS) | st.binary(max_size=4) | st.just(data[at : at + length]))
        data = data[:at] + splinter + data[at + length :]
    return data


def check_message(error: PyshardError) -> None:
    """What is told of spoilt bytes, of which there may be thousands, is one short line."""
    assert "\n" not in str(error)
    assert len(str(error)) < 400


def hand_out(data: bytes) -> None:
    """Decode answers and make of them what callers are given, each of whom hears something of the right kind."""
    for run, answer in zip(RUNS, decode_answers(data, RUNS), strict=True):
        keys = len(run.keys)
        given = outcomes_of(run, [0] * keys, [0] * keys, answer.results)
        assert len(given) == len(answer.outcomes()) == keys
        for position, outcome in enumerate(given):
            assert position in answer.errors or isinstance(outcome, (PyshardError, *GIVEN[type(run)]))


Decode = Callable[[bytes], Any]

#: What reads bytes: a function, bytes that it reads, and the errors that it may raise.
DECODERS: dict[str, tuple[Decode, bytes, tuple[type[PyshardError], ...]]] = {
    "runs": (decode_runs, encode_runs(RUNS), (BadRequest,)),
    "a reader's runs": (decode_readers_runs, encode_runs(RUNS), (BadRequest,)),
    "answers": (hand_out, encode_answers(ANSWERS), (BadRequest,)),
    "keys": (decode_keys, encode_keys([b"a", b"b" * 300]), (BadRequest,)),
    "rows": (decode_rows, encode_rows(ROWS), (BadRequest,)),
    "document": (document_encoding.decode, document_encoding.encode(DOCUMENT)[0], (UnreadableRecord,)),
    "documents": (lambda data: decode_many([data, data]), document_encoding.encode(DOCUMENT)[0], (UnreadableRecord,)),
    "int": (document_encoding.decode_int, document_encoding.encode(2**80)[0], (UnreadableRecord, NotANumber)),
    "size": (document_encoding.size_in, document_encoding.encode(1)[0], (UnreadableRecord,)),
    "state": (
        lambda data: cluster_state_json.to_json(cluster_state_json.from_json(data)),
        cluster_state_json.to_json(STATE),
        (BadRequest,),
    ),
    "config": (config_file.parse, file_with(), (ConfigError,)),
    "tokens": (
        lambda data: tokens_and_roles.parse(data.decode("utf-8", "replace")),
        b"admin " + b"x" * 20,
        (ConfigError,),
    ),
    "chunks": (lambda data: take_chunks({b"n": data[:3], b"n.0": b"", b"n.1": b""}, b"n"), b"2", (BadRequest,)),
    "integer": (lambda data: take_integer({b"n": data}, b"n"), b"12345", (BadRequest,)),
}  # fmt: skip


@pytest.mark.parametrize(("decode", "data", "errors"), DECODERS.values(), ids=DECODERS.keys())
def test_decoders(decode: Decode, data: bytes, errors: tuple[type[PyshardError], ...]) -> None:
    """Spoilt bytes are read, or refused with the error that the decoder promises."""
    decode(data)

    @EXAMPLES
    @given(spoilt(data))
    def try_it(found: bytes) -> None:
        try:
            decode(found)
        except errors as error:
            check_message(error)

    try_it()


@settings(max_examples=200 * MORE, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(0, 2**32))
def test_answers_with_other_things_in_them(seed: int) -> None:
    """Whatever stands in place of a result, or of an error, nobody hears what his verb doesn't have."""
    data = encode_answers(ANSWERS)
    with suppress(BadRequest):
        hand_out(Hostile(Random(seed)).spoilt_data(data))


@pytest.mark.parametrize("data", DOCUMENTS)
def test_documents_that_are_traps(data: bytes) -> None:
    """What announces more than it has, nests too deep or isn't what it says is refused, or read for what it is."""
    for decode in (document_encoding.decode, document_encoding.decode_int):
        with suppress(UnreadableRecord, NotANumber):
            decode(data)


# -- boxes ----------------------------------------------------------------------------------------------------------


class _Boxes:
    """Takes the boxes of Twisted's own parser."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []

    def startReceivingBoxes(self, sender: object) -> None:
        """See `amp.IBoxReceiver`."""

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """See `amp.IBoxReceiver`."""
        self.boxes.append(dict(box))

    def stopReceivingBoxes(self, reason: object) -> None:
        """See `amp.IBoxReceiver`."""


def ours(pieces: list[bytes], limits: Limits, patience: int = 1) -> tuple[list[Box], bool]:
    """The boxes that our parser finds, and whether there was a breach.

    :param patience: after so many pieces it is asked for boxes, and for no more than so many; at the end for all.
    """
    parser, found = BoxParser(limits), list[Box]()
    try:
        for number, piece in enumerate(pieces, 1):
            parser.feed(piece)
            if number % patience == 0:
                for _ in range(patience if patience > 1 else 1 << 30):
                    if (box := parser.next_box()) is None:
                        break
                    found.append(box)
        parser.feed(b"")
        while (box := parser.next_box()) is not None:
            found.append(box)
    except BoxBreach:
        return found, True
    return found, False


def amps(data: bytes) -> list[Box]:
    """The boxes that Twisted's parser finds, until it closes the connection."""
    receiver = _Boxes()
    protocol = amp.BinaryBoxProtocol(receiver)
    protocol.makeConnection(Closing())
    protocol.dataReceived(data)
    return receiver.boxes


class Closing:
    """A transport that can be closed."""

    def loseConnection(self) -> None:
        """See `ITransport`."""


@EXAMPLES
@given(st.integers(0, 2**32), st.sampled_from([Limits(), Limits(8, 1024, 5), Limits(100_000, 1 << 30, 5)]))
def test_the_parser_against_two_others(seed: int, limits: Limits) -> None:
    """Our parser finds the boxes that a slow and simple one finds, in any pieces; and those that Twisted's finds, too,
    as far as they are within limits.
    """
    ping = serialize({b"_ask": b"1", b"_command": b"Ping", b"n": b"x" * 200})
    who = Hostile(Random(seed), [ping, ping * 2])
    pieces = who.attack()
    data = b"".join(pieces)
    found, breach = ours(pieces, limits)
    assert ours([data], limits) == (found, breach)
    for size in (1, 7) if len(data) < 3000 else (1000, 66_000):
        for patience in (1, 2, 5):
            split = [data[at : at + size] for at in range(0, len(data), size)]
            assert ours(split, limits, patience) == (found, breach)
    theirs = amps(data)
    assert theirs[: len(found)] == found
    model = owed(data, limits)
    commands = [box for box in found if b"_ask" in box]
    assert [box[b"_ask"] for box in commands][: len(model.tags)] == model.tags
    if limits.keys == 100_000:
        assert theirs == found
    if breach:
        assert model.breach


# -- files ----------------------------------------------------------------------------------------------------------


@EXAMPLES
@given(spoilt(cluster_state_json.to_json(STATE)))
def test_state_files(data: bytes) -> None:
    """A state file is read, or refused in one line."""
    with folder() as path:
        (path / "state").write_bytes(data)
        try:
            state_file.load(path / "state")
        except ConfigError as error:
            check_message(error)


def _backup_in(path: Path, state: bytes, payloads: list[bytes]) -> bytes:
    """Write a backup of these parts, whose lengths and checksums are right; its manifest."""
    records = b"".join(BLOCK.pack(len(one), crc32(one)) + one for one in payloads)
    (path / "0-a.records").write_bytes(records)
    (path / manifest.STATE).write_bytes(state)
    sealed = FileEntry("0-a.records", "a", 2, len(records), sha256(records).hexdigest())
    made = Manifest(
        manifest.FORMAT,
        "2026-01-01",
        "c1",
        7,
        FileEntry(manifest.STATE, "", 0, len(state), sha256(state).hexdigest()),
        (sealed,),
    )
    text = manifest.encode(made)
    (path / manifest.MANIFEST).write_bytes(text)
    return text


@EXAMPLES
@given(st.data())
def test_backups(data: st.DataObject) -> None:
    """A backup with spoilt parts, all of whose checksums are right, is in order or damaged."""
    state, payload = cluster_state_json.to_json(STATE), encode_rows(ROWS)
    with folder() as path:
        text = _backup_in(path, state, [payload])
        assert verify(path).documents == 2
        part = data.draw(st.sampled_from(["state", "rows", "manifest", "file"]))
        if part == "state":
            _backup_in(path, data.draw(spoilt(state)), [payload])
        elif part == "rows":
            _backup_in(path, state, [data.draw(spoilt(payload))])
        elif part == "manifest":
            body = data.draw(spoilt(text[: text.rindex(b'"checksum"')]))
            (path / manifest.MANIFEST).write_bytes(body + manifest._last_member(body))
        else:
            file = path / "0-a.records"
            file.write_bytes(data.draw(spoilt(file.read_bytes())))
        try:
            verify(path)
        except BackupDamaged as error:
            check_message(error)
