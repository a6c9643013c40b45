"""How each verb answers, and which operations fail."""

from __future__ import annotations

import pytest
from client_core.operation_queue.operations import CHANGING, READING, operation, outcome

from pyshard.client_core.operation_queue import Batch
from pyshard.errors import InvalidDocument, PyshardError, ShardFull, Unavailable
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


@pytest.mark.parametrize(
    ("verb", "result"),
    [
        ("read", VERSION.pack(1) + b"\xffjunk"),
        ("pop", VERSION.pack(1) + b"\x01\0\0\0\x10"),
        ("pop", VERSION.pack(1)),
        ("item", ITEM.pack(1, 0, 0) + b"\xffjunk"),
        ("remove", b"\xff"),
        ("increment", b"\xff"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(verb: str, result: bytes) -> None:
    """A record in another format fails its own operation, with a `PyshardError`."""
    (found,) = Batch([operation(verb)], 0.0).outcomes([Answer([result])])
    assert isinstance(found, InvalidDocument)


def test_outcomes_are_in_the_order_of_the_operations() -> None:
    """Over all runs of a box; where an operation was refused, or its record can't be read, there is the error."""
    writes = [operation("write", key, b"r", size=size) for key, size in (("a", 7), ("b", 8), ("c", 9))]
    box = Batch([*writes, operation("read", "d", slot=128), operation("read", "e"), operation("has", "f")], 0.0)
    stored, read = Answer([True, None, False], {1: ("SHARD_FULL", "no room")}), Answer([FOUND, VERSION.pack(1) + b"?"])
    size, full, none, record, damaged, there = box.outcomes([stored, read, Answer([True])])
    assert (size, none, there) == (7, 0, True)
    assert record == {"hash_": 0.0000128, "record": {"hello": "world"}}
    assert (type(full), type(damaged), str(full)) == (ShardFull, InvalidDocument, "no room")


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
