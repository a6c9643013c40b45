"""A peer with nothing of pyshard in it: Twisted's own AMP, and command classes written from docs/protocol.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any

import msgspec
import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster, NewCluster
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.protocols import amp

pytestmark = pytest.mark.functional


class ShardIsBehind(Exception):
    """This client's exception for the error code SHARD_BEHIND."""


class NoSense(Exception):
    """This client's exception for BAD_REQUEST."""


class Hello(amp.Command):
    """Who are you?"""

    arguments = [(b"protocol", amp.Integer())]
    response = [
        (b"protocol", amp.Integer()),
        (b"role", amp.Unicode()),
        (b"identity", amp.Unicode()),
        (b"cluster", amp.Unicode()),
        (b"name", amp.Unicode()),
        (b"epoch", amp.Integer()),
        (b"ephemeral", amp.Boolean()),
        (b"connection", amp.Unicode()),
    ]


class GetMap(amp.Command):
    """The cluster state, in one chunk."""

    response = [(b"state", amp.Integer()), (b"state.0", amp.String())]


class Apply(amp.Command):
    """A batch, in one chunk."""

    arguments = [(b"epoch", amp.Integer()), (b"batch", amp.Integer()), (b"batch.0", amp.String())]
    response = [(b"epoch", amp.Integer()), (b"answers", amp.Integer()), (b"answers.0", amp.String())]
    errors = {ShardIsBehind: b"SHARD_BEHIND", NoSense: b"BAD_REQUEST"}


class Keys(amp.Command):
    """A page of keys, in one chunk."""

    arguments = [(b"epoch", amp.Integer()), (b"index", amp.Unicode()), (b"slot", amp.Integer())]
    response = [
        (b"keys", amp.Integer()),
        (b"keys.0", amp.String()),
        (b"end", amp.Integer()),
        (b"more", amp.Boolean()),
    ]


@asynccontextmanager
async def dialed(port: int) -> AsyncIterator[amp.AMP]:
    """A connection to a daemon."""
    from twisted.internet import reactor

    peer = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, port), amp.AMP())
    try:
        yield peer
    finally:
        peer.transport.loseConnection()


async def applied(shard: amp.AMP, epoch: int, *runs: list[Any]) -> Any:
    """The answers to a batch."""
    batch = {"epoch": epoch, "batch": 1, "batch.0": msgspec.msgpack.encode(runs)}
    answer = await shard.callRemote(Apply, **batch)
    assert answer["answers"] == 1
    return msgspec.msgpack.decode(answer["answers.0"])


def record_of(number: int) -> bytes:
    """The record of a small int."""
    return b"\x01" + (28).to_bytes(4, "big") + msgspec.msgpack.encode(number)


@pytest_twisted.ensureDeferred
async def test_stock_peer(cluster: Cluster) -> None:
    """Hello, map, write, read and keys: all that a client in another language needs."""
    async with dialed(cluster.bootstrap.port) as bootstrap:
        greeting = await bootstrap.callRemote(Hello, protocol=2)
        assert (greeting["protocol"], greeting["role"]) == (2, "bootstrap")
        answer = await bootstrap.callRemote(GetMap)
    assert answer["state"] == 1
    state = msgspec.json.decode(answer["state.0"])
    assert state["cluster"] == greeting["cluster"]

    slot = int(int(md5(b"test").hexdigest(), 16) % 1e7)
    assert slot == 1671936
    (owner,) = [one for one in state["shards"] if any(start <= slot < end for start, end in one["ranges"])]
    async with dialed(owner["port"]) as shard:
        greeting = await shard.callRemote(Hello, protocol=2)
        assert greeting["role"] == "shard"
        assert (greeting["identity"], greeting["name"]) == (owner["identity"], owner["name"])

        async def apply(*runs: list[Any]) -> Any:
            return await applied(shard, state["epoch"], *runs)

        record = b"\x01" + (60).to_bytes(4, "big") + msgspec.msgpack.encode("hello world")
        assert await apply(["write", "", [b"test"], [record]]) == [[[True], {}]]
        ((results, errors), has) = await apply(["read", "", [b"test", b"key0"]], ["has", "", [b"test"]])
        assert (results[0][8:], results[1], errors, has) == (record, None, {}, [[True], {}])
        version = results[0][:8]
        ((results, errors),) = await apply(["read", "", [b"test1", b"test"]])
        assert results == [None, version + record]
        assert errors[0][0] == "WRONG_SHARD"
        ((results, errors),) = await apply(["read", "nowhere", [b"test"]])
        assert errors[0][0] == "INDEX_NOT_FOUND"

        page = await shard.callRemote(Keys, epoch=state["epoch"], index="", slot=owner["ranges"][0][0])
        assert msgspec.msgpack.decode(page["keys.0"]) == [b"test"]
        assert (page["keys"], page["end"], page["more"]) == (1, owner["ranges"][0][1], False)

        with pytest.raises(ShardIsBehind):
            await shard.callRemote(Apply, **{"epoch": state["epoch"] + 1, "batch": 1, "batch.0": b"\x90"})
        with pytest.raises(NoSense, match="the batch can't be read"):
            await shard.callRemote(Apply, **{"epoch": state["epoch"], "batch": 1, "batch.0": b"\xc1"})


@pytest.mark.parametrize("durable", [False, True])
@pytest_twisted.ensureDeferred
async def test_stock_verbs(new_cluster: NewCluster, durable: bool) -> None:
    """Conditions, times to live and counters, with versions and times where docs/protocol.md says that they are."""
    cluster = new_cluster(1, durable=durable)
    cluster.start()
    async with dialed(cluster.shards[0].port) as shard:

        async def apply(*runs: list[Any]) -> Any:
            return await applied(shard, 0, *runs)

        record = b"\x01" + (60).to_bytes(4, "big") + msgspec.msgpack.encode("hello world")
        assert await apply(["write", "", [b"test"], [record]]) == [[[True], {}]]
        (((found,), _),) = await apply(["read", "", [b"test"]])
        first = int.from_bytes(found[:8], "big")

        # Conditions, for each key of a run: none, that it doesn't exist, that it has a version.
        keys = [b"test", b"test", b"key0", b"test", b"test"]
        written = await apply(["write", "", keys, [record] * 5, [0, first + 1, 0, first, -1], [0, 0, 60_000, 0, 0]])
        assert written == [[[False, False, True, True, True], {}]]
        ((items, _),) = await apply(["item", "", [b"test", b"key0", b"key1"]])
        versions = [int.from_bytes(item[:8], "big") for item in items[:2]]
        times = [(int.from_bytes(item[8:16], "big"), int.from_bytes(item[16:24], "big")) for item in items[:2]]
        assert first < versions[1] < versions[0]
        assert times[0] == (0, 0)
        assert 50_000 < times[1][1] <= 60_000 < times[1][0]
        assert (items[0][24:], items[1][24:], items[2]) == (record, record, None)
        assert await apply(["touch", "", [b"key0", b"key1"], [0, 0]]) == [[[True, False], {}]]
        ((items, _),) = await apply(["item", "", [b"key0"]])
        assert items[0] == versions[1].to_bytes(8, "big") + bytes(16) + record
        assert await apply(["remove", "", [b"key0", b"key0"], [first, versions[1]]]) == [[[None, record[:5]], {}]]
        assert await apply(["pop", "", [b"key0"]], ["pop", "", [b"test"], None]) == [
            [[None], {}],
            [[versions[0].to_bytes(8, "big") + record], {}],
        ]

        assert await apply(["write", "", [b"test"], [record]]) == [[[True], {}]]
        counting = ["increment", "", [b"key0", b"key0", b"test"], [record_of(5)] * 3, [record_of(100)] * 3]
        ((results, errors),) = await apply(counting)
        assert results == [record_of(105), record_of(110), None]
        assert errors[2][0] == "NOT_A_NUMBER"
        assert await apply(["remove", "", [b"key0"]]) == [[[record_of(0)[:5]], {}]]
