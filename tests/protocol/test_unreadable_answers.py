"""Answers that can't be read: their call fails at once and says so; everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from relay import between
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.errors import BadRequest, OutcomeUnknown
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.boxes import Box, serialize
from pyshard.protocol.chunked_arguments import put_chunks
from pyshard.protocol.pages import encode_keys, encode_ranges
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

SHARD = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1
BOOTSTRAP = ("localhost", 9192)


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client with a document on each shard."""
    made = cluster.connect()
    cluster.run(gatherResults([made.write("test", 1), made.write("test1", 2)]))
    return made


def told(cluster: MemoryCluster, work: Deferred[Any], seconds: float = 2) -> Any:
    """What a Deferred gives or fails with, long before any deadline."""
    return cluster.run(work.addErrback(lambda failure: failure.value), seconds)


def without(name: bytes) -> Callable[[Box], bytes]:
    """Leaves an argument out."""
    return lambda box: serialize({key: value for key, value in box.items() if key != name})


def with_value(name: bytes, value: bytes) -> Callable[[Box], bytes]:
    """Gives an argument another value, where there is one of the name."""
    return lambda box: serialize({**box, name: value} if name in box else box)


def with_chunks(name: bytes, data: bytes) -> Callable[[Box], bytes]:
    """Gives an argument in chunks another value, where there is one of the name."""

    def change(box: Box) -> bytes:
        if name in box:
            put_chunks(box, name, data)
        return serialize(box)

    return change


def page(keys: list[bytes], end: int = SLOTS, more: bool = True) -> Callable[[Box], bytes]:
    """Gives a page of keys in place of the shard's."""

    def change(box: Box) -> bytes:
        if b"keys" in box:
            put_chunks(box, b"keys", encode_keys(keys))
            box |= {b"end": b"%d" % end, b"more": str(more).encode()}
        return serialize(box)

    return change


READS: dict[str, tuple[tuple[str, int], Callable[[Box], bytes], Callable[[Client], Deferred[Any]], str]] = {
    "map without state": (BOOTSTRAP, without(b"state"), lambda one: one.indexes(), "GetMap can't be read"),
    "map of half a state": (BOOTSTRAP, with_chunks(b"state", b'{"for'), lambda one: one.indexes(), "no cluster state"),
    "readiness": (BOOTSTRAP, with_value(b"shards", b"5"), lambda one: one.readiness(), "Readiness can't be read"),
    "readiness, text": (BOOTSTRAP, with_chunks(b"shards", b"[5]"), lambda one: one.readiness(), "Expected `object`"),
    "end is no number": (SHARD, with_value(b"end", b"x"), lambda one: one.keys().next_page(), "Keys can't be read"),
    "more is no Boolean": (SHARD, with_value(b"more", b"1"), lambda one: one.keys().next_page(), "Keys can't be read"),
    "keys that are no text": (SHARD, page([b"\xff"]), lambda one: one.keys().next_page(), "not UTF-8"),
    "a page that ends nowhere": (SHARD, page([], 0, more=False), lambda one: one.keys().next_page(), "leads nowhere"),
    "a page that ends in another's range": (
        SHARD,
        page([], more=False),
        lambda one: one.keys().next_page(),
        "goes beyond its range, [0.0, 0.5)",
    ),
    "a count of another's range": (
        SHARD,
        with_chunks(b"ranges", encode_ranges(((0, SLOTS),))),
        lambda one: one.count(),
        "is of other ranges than its own, [0.0, 0.5): of [0.0, 1.0)",
    ),
    "a count of no ranges": (SHARD, with_chunks(b"ranges", b"\x05"), lambda one: one.count(), "ranges can't be read"),
}


@pytest.mark.parametrize(("at", "change", "ask", "message"), READS.values(), ids=READS.keys())
def test_a_question_that_changes_nothing(
    cluster: MemoryCluster,
    client: Client,
    at: tuple[str, int],
    change: Callable[[Box], bytes],
    ask: Callable[[Client], Deferred[Any]],
    message: str,
) -> None:
    """It fails with `BadRequest`, which says what can't be read. Everything else goes on."""
    with between(cluster, at, change):
        outcome = told(cluster, ask(client))
        assert type(outcome) is BadRequest
        assert message in str(outcome)
        assert told(cluster, client.read("test1"))["record"] == 2
    assert not isinstance(told(cluster, ask(client)), Exception)


def test_a_change_is_unknown(cluster: MemoryCluster, client: Client) -> None:
    """A change of which the answer can't be read may have happened: `OutcomeUnknown`, at once."""
    asked: list[Box] = []

    def after_hello(box: Box) -> bytes:
        if b"role" not in box and b"epoch" in box:
            asked.append(box)
            box[b"epoch"] = b"seven"
        return serialize(box)

    with between(cluster, BOOTSTRAP, after_hello):
        outcome = told(cluster, client.create_index("pages"))
        assert type(outcome) is OutcomeUnknown
        assert "CreateIndex can't be read" in str(outcome)
        assert len(asked) == 1


def test_statistics(cluster: MemoryCluster, client: Client) -> None:
    """A shard whose statistics can't be read is reported so, beside the others."""
    with between(cluster, SHARD, with_chunks(b"stat", b"[" * 100_000)):
        first, second = told(cluster, client.stat())["shards"]
    assert "can't be read" in first["error"]
    assert second["documents"] == 1


def test_a_scan_that_goes_round_in_circles(cluster: MemoryCluster, client: Client) -> None:
    """A page that leads back to an earlier place ends the scan."""
    with between(cluster, SHARD, page([b"test"])):
        pages = client.keys()
        assert told(cluster, pages.next_page()) == ["test"]
        assert "leads nowhere" in str(told(cluster, pages.next_page()))


@pytest.mark.parametrize("name", [b"protocol", b"epoch", b"identity", b"ephemeral"])
def test_a_greeting(cluster: MemoryCluster, client: Client, name: bytes) -> None:
    """A shard whose greeting can't be read isn't used, and the client says why; later it is used."""
    with between(cluster, SHARD, with_value(name, b"\xff")):
        outcome = told(cluster, client.read("test", deadline=3), 4)
        assert "the answer to Hello can't be read" in str(outcome)
        assert told(cluster, client.read("test1"))["record"] == 2
    cluster.advance(2 * settings.RETRY_LONGEST)
    assert cluster.run(client.read("test1"))
