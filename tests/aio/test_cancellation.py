"""What becomes of a verb whose task is cancelled: nothing waits, nothing is repeated, the order of a key holds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from aio.loop_cluster import LoopCluster, run

from pyshard.aio import AioClient, connect
from pyshard.errors import IndexNotFound, OutcomeUnknown, PartialFailure
from pyshard.settings import settings


async def _cancelled(task: asyncio.Task[object]) -> asyncio.CancelledError:
    """The error of a task that is cancelled now."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


async def _awaiting(future: Awaitable[object]) -> object:
    return await future


def test_a_change_that_was_sent() -> None:
    """It takes effect once, before what is called later on its key; its late answer is dropped; the task is told."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            await client.write("n", 0)
            cluster.endpoints["shard0"].deaf = True
            task = asyncio.create_task(_awaiting(client.increment("n")))
            await asyncio.sleep(0.05)
            error = await _cancelled(task)
            assert isinstance(error.__cause__, OutcomeUnknown)
            assert "increment of key 'n' was cancelled" in str(error.__cause__)
            later = client.increment("n", 10)
            cluster.endpoints["shard0"].hear()
            assert await later == 11
            assert await client.read("n") == {"hash_": pytest.approx(0.8, abs=1), "record": 11}

    run(main)


def test_a_change_that_was_not_sent_yet() -> None:
    """It is taken out of the queue, and never sent."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            before, unsent, after = client.write("a", 1), client.write("a", 2, if_absent=True), client.write("b", 3)
            unsent.cancel()
            assert (await before, await after) == (28, 28)
            item = await client.item("b")
            assert item is not None
            assert cluster.services["shard0"].shard.stat()["operations"] == 3

    run(main)


@pytest.mark.parametrize("call", [lambda client: client.read("a"), lambda client: client.has("a")])
def test_a_read(call: Callable[[AioClient], asyncio.Future[object]]) -> None:
    """Its task goes on at once, and the answer that comes late is dropped without a word."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            await client.write("a", 1)
            cluster.endpoints["shard0"].deaf = True
            task = asyncio.create_task(_awaiting(call(client)))
            await asyncio.sleep(0.05)
            assert (await _cancelled(task)).__cause__ is None
            cluster.endpoints["shard0"].hear()
            assert (await client.read("a")) is not None

    run(main)


def test_timeouts() -> None:
    """`asyncio.timeout` and `wait_for` end a verb at once that isn't answered."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            await client.write("a", 1)
            cluster.endpoints["shard0"].deaf = True
            began = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.05):
                    await client.write("a", 2)
            assert caught.value.__cause__ is not None
            assert isinstance(caught.value.__cause__.__cause__, OutcomeUnknown)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.read("a"), 0.05)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.read_many(["a"]), 0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(client.keys())
            assert asyncio.get_running_loop().time() - began < settings.DEADLINE / 2
            cluster.endpoints["shard0"].hear()
            assert await client.has("a")

    run(main)


def test_a_bulk_verb() -> None:
    """Nothing more is read from its iterable."""

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            taken = 0

            def pairs() -> object:
                nonlocal taken
                while True:
                    taken += 1
                    yield f"key{taken}", taken

            writing = client.write_many(pairs())  # type: ignore[arg-type]  # mypy doesn't see the pairs
            while not await client.has("key1"):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.sleep(0.01)
            seen = taken
            await asyncio.sleep(0.05)
            assert taken == seen

    run(main)


def test_gather() -> None:
    """Cancelling a `gather` cancels all its verbs; one that fails fails it, and the others go on."""

    async def main() -> None:
        async with LoopCluster(2) as cluster, connect(cluster.server) as client:
            with pytest.raises(IndexNotFound):
                await asyncio.gather(client.write("a", 1), client.read("a", "missing"), client.write("b", 2))
            assert await client.has_many(["a", "b"]) == [True, True]
            for endpoint in cluster.endpoints.values():
                endpoint.deaf = True
            futures = [client.read(f"key{number}") for number in range(20)]
            gathered = asyncio.gather(*futures)
            await asyncio.sleep(0.05)
            gathered.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gathered
            assert all(future.cancelled() for future in futures)
            for endpoint in cluster.endpoints.values():
                endpoint.hear()

    run(main)


def test_a_failure_that_nobody_awaits() -> None:
    """Asyncio reports it, once, when the future is forgotten; one that was awaited isn't reported."""
    reported: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            with pytest.raises(IndexNotFound):
                await client.read("a", "missing")
            with pytest.raises(PartialFailure):
                await client.read_many([None])  # type: ignore[list-item]  # that is the point
            gc.collect()
            assert reported == []
            lost = client.read("a", "missing")
            await asyncio.wait([lost])
            del lost
            gc.collect()

    asyncio.run(main())
    (only,) = reported
    assert isinstance(only, IndexNotFound)


def test_connecting() -> None:
    """Who gives up connecting waits for nothing, and leaves nothing behind."""

    async def main() -> None:
        async with LoopCluster(1) as cluster:
            cluster.bootstrap_endpoint.deaf = True
            began = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await connect(cluster.server)
            assert asyncio.get_running_loop().time() - began < settings.DEADLINE / 2
            assert [task for task in asyncio.all_tasks() if "open" in repr(task.get_coro())] == []

    run(main)
