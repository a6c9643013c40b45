"""A peer with nothing of pyshard in it: Twisted's own AMP, and command classes written from docs/protocol.md."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5
from typing import Any

import msgspec
import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.protocols import amp

pytestmark = pytest.mark.functional


class ShardIsBehind(Exception):
    """What this client makes of the error code SHARD_BEHIND."""


class NoSense(Exception):
    """What it makes of BAD_REQUEST."""


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


@pytest_twisted.ensureDeferred
async def test_stock_peer(cluster: Cluster) -> None:
    """Hello, map, write, read and keys: all that a client in another language needs."""
    async with dialed(cluster.bootstrap.port) as bootstrap:
        greeting = await bootstrap.callRemote(Hello, protocol=1)
        assert (greeting["protocol"], greeting["role"]) == (1, "bootstrap")
        answer = await bootstrap.callRemote(GetMap)
    assert answer["state"] == 1
    state = msgspec.json.decode(answer["state.0"])
    assert state["cluster"] == greeting["cluster"]

    slot = int(int(md5(b"test").hexdigest(), 16) % 1e7)
    assert slot == 1671936
    (owner,) = [one for one in state["shards"] if one["start"] <= slot < one["end"]]
    async with dialed(owner["port"]) as shard:
        greeting = await shard.callRemote(Hello, protocol=1)
        assert greeting["role"] == "shard"
        assert (greeting["identity"], greeting["name"]) == (owner["identity"], owner["name"])

        async def apply(*runs: list[Any]) -> Any:
            batch = {"epoch": state["epoch"], "batch": 1, "batch.0": msgspec.msgpack.encode(runs)}
            answer = await shard.callRemote(Apply, **batch)
            assert answer["answers"] == 1
            return msgspec.msgpack.decode(answer["answers.0"])

        size = (60).to_bytes(4, "big")
        record = b"\x01" + size + msgspec.msgpack.encode("hello world")
        assert await apply(["write", "", [b"test"], [record]]) == [[[True], {}]]
        assert await apply(["read", "", [b"test", b"key0"]], ["has", "", [b"test"]]) == [
            [[record, None], {}],
            [[True], {}],
        ]
        ((results, errors),) = await apply(["read", "", [b"test1", b"test"]])
        assert results == [None, record]
        assert errors[0][0] == "WRONG_SHARD"
        ((results, errors),) = await apply(["read", "nowhere", [b"test"]])
        assert errors[0][0] == "INDEX_NOT_FOUND"

        page = await shard.callRemote(Keys, epoch=state["epoch"], index="", slot=owner["start"])
        assert msgspec.msgpack.decode(page["keys.0"]) == [b"test"]
        assert (page["keys"], page["end"], page["more"]) == (1, owner["end"], False)

        with pytest.raises(ShardIsBehind):
            await shard.callRemote(Apply, **{"epoch": state["epoch"] + 1, "batch": 1, "batch.0": b"\x90"})
        with pytest.raises(NoSense, match="the batch can't be read"):
            await shard.callRemote(Apply, **{"epoch": state["epoch"], "batch": 1, "batch.0": b"\xc1"})
