"""How each verb answers, and which operations fail."""

from __future__ import annotations

import pytest
from client_core.operation_queue.operations import CHANGING, READING, operation, outcome

from pyshard.client_core.operation_queue import Batch
from pyshard.errors import OutcomeUnknown, PyshardError, ShardFull, Unavailable, UnreadableRecord
from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, Result

RECORD, SIZE = document_encoding.encode({"hello": "world"})
FOUND = VERSION.pack(7) + RECORD
ITSELF = {"key": "test", "hash_": 0.1671936, "record": {"hello": "world"}, "version": 7, "size": 54}


@pytest.mark.parametrize(
    ("verb", "result", "expected"),
    [
        ("read", FOUND, {"hash_": 0.1671936, "record": {"hello": "world"}}),
        ("read", None, None),
        ("pop", FOUND, {"hash_": 0.1671936, "record": {"hello": "world"}}),
        ("pop", None, None),
        ("item", ITEM.pack(7, 0, 0) + RECORD, {**ITSELF, "expiry": None, "ttl": None}),
        ("item", ITEM.pack(7, 1_000_000_001, 1) + RECORD, {**ITSELF, "expiry": 1_000_000.001, "ttl": 0.001}),
        ("item", None, None),
        ("has", True, True),
        ("has", False, False),
        ("write", True, 54),
        ("write", False, 0),
        ("touch", True, True),
        ("touch", False, False),
        ("increment", document_encoding.encode(2**70)[0], 2**70),
        ("increment", document_encoding.encode(-1)[0], -1),
        ("remove", RECORD[:5], 54),
        ("remove", None, 0),
    ],
)
def test_each_verb_has_its_answer(verb: str, result: Result, expected: object) -> None:
    """What the shard answers becomes what the verb promises."""
    box = Batch([operation(verb, "test", RECORD, slot=1671936, size=SIZE)], 0.0)
    (found,) = box.outcomes([Answer([result])])
    assert (found, type(found)) == (expected, type(expected))


def test_an_operation_is_finished_once() -> None:
    """The first outcome counts; whatever comes later changes nothing."""
    one = operation("read")
    one.finish(Unavailable("too late"))
    one.finish({"hash_": 0.0, "record": 1})
    one.finish(ShardFull("full"))
    assert isinstance(outcome(one.deferred), Unavailable)


JUNK = "the record can't be read: it begins with the byte 255; this version reads format 1 only"
SHORT = "can't be read: it is too short, expected 5 bytes and a document"


@pytest.mark.parametrize(
    ("verb", "result", "record", "why"),
    [
        ("read", VERSION.pack(1) + b"\xffjunk", b"\xffjunk", JUNK),
        ("pop", VERSION.pack(1) + b"\x01\0\0\0\x10", b"\x01\0\0\0\x10", f"the record of 5 bytes {SHORT}"),
        ("pop", VERSION.pack(1), b"", f"the record of 0 bytes {SHORT}"),
        ("item", ITEM.pack(1, 0, 0) + b"\xffjunk", b"\xffjunk", JUNK),
        ("remove", b"\xff", b"\xff", JUNK),
    ],
)
def test_a_record_that_cannot_be_read(verb: str, result: bytes, record: bytes, why: str) -> None:
    """Its own operation fails. The error names key and index, has the record, and says whether the key is gone."""
    for index, shown in (("", ""), ("pages", " of index 'pages'")):
        (found,) = Batch([operation(verb, "a key", index=index)], 0.0).outcomes([Answer([result])])
        assert isinstance(found, UnreadableRecord)
        removed = verb in ("pop", "remove")
        assert str(found) == f"{verb} of key 'a key'{shown}: {why}" + ("; it was removed" if removed else "")
        assert (found.record, found.removed) == (record, removed)


@pytest.mark.parametrize("result", [b"\xff", b"", document_encoding.encode("text")[0], RECORD[:5]])
def test_an_increment_whose_answer_cannot_be_read(result: bytes) -> None:
    """It was done, but to which value isn't known: nobody is told that nothing was changed."""
    (found,) = Batch([operation("increment", "n")], 0.0).outcomes([Answer([result])])
    assert isinstance(found, OutcomeUnknown)
    assert str(found).startswith("increment of key 'n' was done, but the shard's answer makes no sense: ")


def test_outcomes_are_in_the_order_of_the_operations() -> None:
    """Over all runs of a box; where an operation was refused, or its record can't be read, there is the error."""
    writes = [operation("write", key, b"r", size=size) for key, size in (("a", 7), ("b", 8), ("c", 9))]
    box = Batch([*writes, operation("read", "d", slot=128), operation("read", "e"), operation("has", "f")], 0.0)
    stored, read = Answer([True, None, False], {1: ("SHARD_FULL", "no room")}), Answer([FOUND, VERSION.pack(1) + b"?"])
    size, full, none, record, damaged, there = box.outcomes([stored, read, Answer([True])])
    assert (size, none, there) == (7, 0, True)
    assert record == {"hash_": 0.0000128, "record": {"hello": "world"}}
    assert (type(full), type(damaged), str(full)) == (ShardFull, UnreadableRecord, "no room")


def test_an_operation_names_itself() -> None:
    """Messages name verb and key; a long key is cut."""
    assert str(operation("pop", "a b")) == "pop of key 'a b'"
    assert len(str(operation("read", "x" * 5000))) < 80


@pytest.mark.parametrize("verb", READING + CHANGING)
def test_only_reading_changes_nothing(verb: str) -> None:
    """`read`, `has` and `item` may be repeated; every other verb may not."""
    assert operation(verb).changes == (verb in CHANGING)


def test_an_error_reaches_its_caller() -> None:
    """A shard's refusal of one operation is what its Deferred fails with."""
    one = operation("write")
    refusal: PyshardError = ShardFull("no room")
    one.finish(refusal)
    assert outcome(one.deferred) is refusal
