"""The asyncio client: its verbs as futures, on a real loop with real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import attrs
import pytest
from aio.loop_cluster import LoopCluster, run

from pyshard.aio import AioClient, connect
from pyshard.errors import ClientClosed, InvalidArgument, InvalidDocument, InvalidKey
from pyshard.settings import settings
from pyshard.shard import protocol

_T = TypeVar("_T")

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


async def everything(given: AsyncIterator[_T]) -> list[_T]:
    """All that an iterator gives."""
    return [one async for one in given]


@LOOPS
def test_every_verb(loop: str) -> None:
    """Each verb gives what the Deferred client's gives."""

    async def main() -> None:
        async with LoopCluster() as cluster, connect(cluster.server) as client:
            assert await client.write("test", "hello world") == 60
            assert await client.read("test") == {"hash_": 0.1671936, "record": "hello world"}
            item = await client.item("test")
            assert item is not None
            assert await client.write("test", "x", if_version=item["version"] + 1) == 0
            assert await client.has("test")
            assert await client.touch("test", 60)
            assert await client.pop("test") == {"hash_": 0.1671936, "record": "hello world"}
            assert await client.read("test") is None
            assert await client.remove("test") == 0
            assert await client.increment("n", 2, 40) == 42
            assert await client.add("n", 1) is False
            assert await client.replace("n", {}) is True
            assert await client.get("n") == {}
            assert await client.get("n", type=dict[str, int]) == {}
            with pytest.raises(InvalidDocument, match="no int"):
                await client.get("n", type=int)
            with pytest.raises(InvalidArgument, match="expected a dataclass"):
                await client.get("none", type=AioClient)
            assert await client.replace("none", 1) is False
            assert await client.add("none", None) is True
            assert await client.get("none", 7) is None
            assert await client.update("none", lambda _: 5) == 5
            assert await client.remove("none") == 28
            assert await client.get("none", 7) == 7
            assert await client.get_many(["n", "none"], 7) == [{}, 7]
            assert await everything(client.items()) == [("n", {})]
            assert (await client.count(), client.locate("n")["shard"][:5]) == (1, "shard")
            for wrong in (client.add("n", 1, ttl=0), client.replace("n", 1, ttl=-1), client.add("n", object())):  # type: ignore[arg-type]
                with pytest.raises((InvalidArgument, InvalidDocument)):
                    await wrong
            assert await client.write_many({"a": 1, "b": 2}) == [28, 28]
            assert [found and found["record"] for found in await client.read_many(["a", "b", "c"])] == [1, 2, None]
            assert await client.has_many(["a", "b", "c"]) == [True, True, False]
            assert await client.remove_many(["a", "c"]) == [28, 0]
            assert [found and found["record"] for found in await client.pop_many(["b", "c"])] == [2, None]
            assert await everything(client.keys()) == ["n"]
            await client.create_index("pages")
            assert await client.indexes() == ["pages"]
            pages = client.index("pages")
            assert await pages.write("p", 1) == 28
            assert await everything(pages.keys()) == ["p"]
            await client.drop_index("pages")
            assert len((await client.stat())["shards"]) == 2  # type: ignore[arg-type]  # a list
            assert [one["state"] for one in await client.readiness()] == ["ready"] * 2

    run(main, loop)


@LOOPS
def test_many_in_flight(loop: str) -> None:
    """500 verbs at once are answered, each with its own document."""

    async def main() -> None:
        async with LoopCluster() as cluster, connect(cluster.server) as client:
            keys = [f"key{number}" for number in range(500)]
            await asyncio.gather(*(client.write(key, key) for key in keys))
            found = await asyncio.gather(*(client.read(key) for key in keys))
            assert [one and one["record"] for one in found] == keys

    run(main, loop)


def test_many_long_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bulk verbs over more long keys than a box has room for, at shards that put off all past a bound."""
    monkeypatch.setattr(protocol, "settings", attrs.evolve(settings, BATCH_KEY_BYTES=200_000))

    async def main() -> None:
        async with LoopCluster() as cluster, connect(cluster.server) as client:
            keys = [f"{number:04}" + "k" * 60_000 for number in range(400)]
            assert await client.write_many({key: number for number, key in enumerate(keys, 1)}) == [28] * 400
            assert await client.has_many(keys) == [True] * 400
            assert await client.get_many(keys, -1) == list(range(1, 401))
            popped = await client.pop_many(keys)
            assert [one and one["record"] for one in popped] == list(range(1, 401))

    run(main)


def test_closing_without_async_with() -> None:
    """A client that was awaited is closed by `close`; later calls fail."""

    async def main() -> None:
        async with LoopCluster() as cluster:
            client: AioClient = await connect(cluster.server)
            await client.write("a", 1)
            await client.close()
            await client.close()
            with pytest.raises(ClientClosed):
                await client.read("a")
            with pytest.raises(InvalidKey):
                await client.read(None)  # type: ignore[arg-type]  # that is the point

    run(main)
