"""What a hostile shard's answers cost a client: memory and time are bounded by what was asked, in each kind of client.

The answers are as large as a box, and well formed. A call ends by an error at once, and the client goes on.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aio.loop_cluster import LoopCluster
from aio.loop_cluster import run as run_on_loop
from backup_clusters import cluster_of
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pyshard import aio
from pyshard.backup import backup
from pyshard.client_core.conversation import Broken, Conversation
from pyshard.errors import BackupFailed, BadRequest, OutcomeUnknown, PyshardError, UnreadableRecord
from pyshard.model.document_encoding import HEAD
from pyshard.model.key_slots import slot_of
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.boxes import SMALL, Limits, serialize
from pyshard.protocol.pages import MOST_KEYS, MOST_ROWS, Row, encode_rows
from pyshard.settings import settings
from pyshard.shard import protocol as shard_protocol
from pyshard.storage import Task
from pyshard.testing import MemoryCluster

#: Bytes of a hostile answer: nearly as many as a box takes.
SIZE = 17 * 2**20

#: Bytes that a client and the network in memory take of these, copies at each step included.
MOST = 10 * SIZE


def array(length: int) -> bytes:
    """The head of a MessagePack array."""
    return b"\xdd" + length.to_bytes(4, "big")


def filled(head: bytes, element: bytes) -> bytes:
    """An array of one element again and again.

    :param head: what stands before it.
    """
    return head + array(SIZE // len(element)) + element * (SIZE // len(element))


RECORD = VERSION.pack(1) + b"\x01\0\0\0\0" + msgspec.msgpack.encode([{}] * 40_000)

#: Answers to a read of one key, each as large as a box.
HOSTILE = {
    "answers": filled(b"", b"\x91\x90"),
    "results": filled(b"\x91\x91", b"\xc0"),
    "errors": b"\x91\x92\x91\xc0\xdf"
    + (SIZE // 8).to_bytes(4, "big")
    + b"".join(b"\xce" + number.to_bytes(4, "big") + b"\x92\xa0\xa0" for number in range(SIZE // 8)),
    "records": b"\x91\x91" + msgspec.msgpack.encode([RECORD] * (SIZE // len(RECORD))),
    "answers within answers": filled(b"\x91", b"\x91\x90"),
}


def cost(call: Callable[[], object]) -> tuple[int, object]:
    """The bytes that a call takes, and its outcome."""
    tracemalloc.start()
    try:
        try:
            outcome: object = call()
        except PyshardError as error:
            outcome = error
        return tracemalloc.get_traced_memory()[1], outcome
    finally:
        tracemalloc.stop()


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of one shard."""
    with MemoryCluster(1) as made:
        yield made


@pytest.fixture(params=["deferred", "blocking"])
def call(request: pytest.FixtureRequest, cluster: MemoryCluster) -> Iterator[Callable[..., object]]:
    """Calls a verb of a client, and waits for what it gives."""
    if request.param == "blocking":
        with cluster.blocking() as app:
            yield lambda verb, *given: getattr(app, verb)(*given)
    else:
        client = cluster.connect()

        def done(verb: str, *given: object) -> object:
            found: Deferred[object] = getattr(client, verb)(*given)
            return cluster.run(found)

        yield done


@pytest.mark.parametrize("answers", HOSTILE.values(), ids=HOSTILE)
def test_answers_to_operations(call: Callable[..., Any], answers: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, results and errors are as many as were asked for, at most."""
    call("write", "test", "hello")
    with monkeypatch.context() as hostile:
        hostile.setattr(shard_protocol, "encode_answers", lambda _: answers)
        for verb, given, expected in [
            ("read", ["test"], BadRequest),
            ("write", ["other", "x"], OutcomeUnknown),
            ("has", ["test"], BadRequest),
        ]:
            peak, outcome = cost(partial(call, verb, *given))
            assert (type(outcome), peak < MOST) == (expected, True), (outcome, peak)
        peak, outcome = cost(lambda: call("read_many", ["test"]))
        assert (isinstance(outcome, PyshardError), peak < MOST) == (True, True), (outcome, peak)
    assert call("read", "test")["record"] == "hello"


def test_records_of_many_keys(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of many keys have no more bytes than a shard puts into one answer, but for one of them."""
    keys = [str(number) for number in range(400)]
    answers = b"\x91\x91" + msgspec.msgpack.encode([RECORD] * len(keys))
    with monkeypatch.context() as hostile:
        hostile.setattr(shard_protocol, "encode_answers", lambda _: answers)
        peak, outcome = cost(lambda: call("read_many", keys))
    assert "but for one, they have at most 2,097,152" in str(outcome)
    assert peak < MOST


def test_a_document_of_many_elements(call: Callable[..., Any], cluster: MemoryCluster) -> None:
    """A document of 16 MiB that another client wrote is refused, and named; one that is popped isn't lost."""
    elements = settings.MAX_DOCUMENT_BYTES - 5
    record = HEAD.pack(1, 1) + array(elements) + b"\x80" * elements
    task = Task(Write("", [b"test"], [record]), 0, [slot_of(b"test")])
    cluster.run(cluster.services["shard0"].shard.store.apply([task], 1 << 40, 1 << 40))
    for verb in ("read", "item", "pop"):
        peak, outcome = cost(partial(call, verb, "test"))
        assert isinstance(outcome, UnreadableRecord), outcome
        assert str(outcome).startswith(f"{verb} of key 'test': the document has more than 1,000,000 elements")
        assert "PYSHARD_MAX_ELEMENTS" in str(outcome)
        assert (outcome.record == record, outcome.removed, peak < MOST) == (True, verb == "pop", True)


def test_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the asyncio client."""

    async def work() -> None:
        async with LoopCluster(1) as cluster, aio.connect(cluster.server) as client:
            await client.write("test", "hello")
            for answers in HOSTILE.values():
                with monkeypatch.context() as hostile:
                    hostile.setattr(shard_protocol, "encode_answers", lambda _, given=answers: given)
                    tracemalloc.start()
                    with pytest.raises(BadRequest):
                        await client.read("test")
                    assert tracemalloc.get_traced_memory()[1] < MOST
                    tracemalloc.stop()
            found = await client.read("test")
            assert found is not None
            assert found["record"] == "hello"

    run_on_loop(work)


def test_pages_of_keys(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has no more keys than ten times what a shard gives."""
    client = cluster.connect()
    monkeypatch.setattr(shard_protocol, "encode_keys", lambda _: filled(b"", b"\xc4\0"))
    peak, outcome = cost(lambda: cluster.run(client.keys().next_page()))
    assert f"length <= {MOST_KEYS}" in str(outcome)
    assert peak < MOST


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"":0}', b"0", b'""', b"1e5"])
@pytest.mark.parametrize(
    ("size", "why"),
    [(SIZE, "a box past 320 keys or 524,288 bytes"), (300_000, "the statistics that the daemon")],
)
def test_statistics(
    call: Callable[..., Any], text: bytes, size: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics have no more bytes than a shard gives, and far larger ones aren't even taken in."""
    stat = b'{"connections":[' + b",".join([text] * (size // (len(text) + 1))) + b"]}"
    monkeypatch.setattr(shard_protocol, "msgspec", SimpleNamespace(json=SimpleNamespace(encode=lambda _: stat)))
    peak, outcome = cost(lambda: call("stat"))
    assert isinstance(outcome, dict)
    assert why in outcome["shards"][0]["error"]
    assert peak < MOST


def test_large_documents_beside_statistics(cluster: MemoryCluster) -> None:
    """Where large answers are owed, or are asked for later, they are taken, over the same connection."""
    client, large = cluster.connect(), "x" * 2**20
    cluster.run(client.write("large", large))
    cluster.run(client.stat())
    connections = [link.dialer.connection for link in client._router.links]
    several: list[Callable[[], Deferred[Any]]] = [client.stat, partial(client.read, "large"), client.stat]
    for calls in permutations(several):
        found = cluster.run(gatherResults([call() for call in calls]))
        assert [one for one in found if "record" in one] == [
            {"hash_": client.locate("large")["hash_"], "record": large}
        ]
    assert connections == [link.dialer.connection for link in client._router.links]
    with cluster.blocking() as app:
        for _ in range(2):
            app.stat()
            assert app.get("large") == large


def test_what_a_blocking_client_takes() -> None:
    """A box of any size while a large answer is owed; a small one where nothing else is."""
    conversation = Conversation(None, None, 0.0)
    assert conversation._parser.limits == SMALL
    conversation.call(commands.GetMap)
    assert conversation._parser.limits == Limits()
    conversation.call(commands.Stat)
    assert conversation._parser.limits == Limits()
    conversation._asked.clear()
    conversation.call(commands.Stat)
    assert conversation._parser.limits == SMALL
    conversation.apply(1, b"")
    assert conversation._parser.limits == Limits()


def test_a_large_greeting() -> None:
    """Who greets with more than any daemon does has broken the protocol: nothing of that is kept."""
    large = serialize({b"_answer": b"1", **{b"%d" % part: bytes(60_000) for part in range(10)}})
    with pytest.raises(Broken, match="a box past 320 keys or 524,288 bytes"):
        Conversation(None, None, 0.0).receive(large, 0.0)
    connection = DialedConnection(Clock())
    connection.makeConnection(StringTransport())
    connection.dataReceived(large)
    assert "a box past 320 keys or 524,288 bytes" in connection._broken_by


def test_pages_of_a_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A snapshot's page has no more records than four times what a shard gives."""
    row = encode_rows([Row(0, b"", 0, b"")])[1:]
    with cluster_of(1) as (cluster, client):
        monkeypatch.setattr(shard_protocol, "encode_rows", lambda _: filled(b"", row))
        peak, outcome = cost(lambda: cluster.run(backup(client, tmp_path / "backup")))
        assert f"length <= {MOST_ROWS}" in str(outcome)
        assert peak < MOST
    assert not (tmp_path / "backup").exists()


def test_a_snapshot_without_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A backup ends when a shard has given more documents than it said that it has."""
    page = encode_rows([Row(0, b"key", 0, b"record")])
    with cluster_of(1) as (cluster, client):
        cluster.run(client.write("test", "hello"))
        monkeypatch.setattr(shard_protocol, "encode_rows", lambda _: page)
        with pytest.raises(BackupFailed, match="said that it has 1 documents and gave 2"):
            cluster.run(backup(client, tmp_path / "backup"))
    assert not (tmp_path / "backup").exists()
