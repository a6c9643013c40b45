"""The asyncio client and its cluster: shards that end and come back, names, tokens, closing, other loops."""

from __future__ import annotations

import asyncio
import threading
import warnings
from pathlib import Path

import pytest
from aio.loop_cluster import LoopCluster, run, until

from pyshard.aio import AioClient, connect
from pyshard.errors import ClientClosed, ConfigError, NotAuthenticated, PermissionDenied, Unavailable, WrongEventLoop
from pyshard.security.tokens_and_roles import parse

ADMIN = "a" * 43
READER = "r" * 43
TOKENS = f"admin {ADMIN}\nread {READER}\n"

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@LOOPS
def test_a_shard_that_ends_and_comes_back(loop: str) -> None:
    """Meanwhile keys of other shards go on; what is asked waits for it within the deadline."""

    async def main() -> None:
        async with LoopCluster(2) as cluster, connect(cluster.server) as client:
            (own,), (others,) = cluster.keys("shard0", 1), cluster.keys("shard1", 1)
            await asyncio.gather(client.write(own, 1), client.write(others, 2))
            await cluster.kill_shard("shard0")
            with pytest.raises(Unavailable, match="shard0"):
                await client.read(own, deadline=0.2)
            assert await client.has(others)
            waiting = client.read(own)
            cluster.start_shard("shard0")
            assert await waiting is None  # in memory it comes back empty
            assert await client.write(own, 1) == 28

    run(main, loop)


@LOOPS
def test_names(loop: str) -> None:
    """A host is found by its name, of the bootstrap and of shards."""

    async def main() -> None:
        async with LoopCluster(1, host="localhost") as cluster, connect(f"localhost:{cluster.port}") as client:
            assert await client.write("a", 1) == 28

    run(main, loop)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("no.such.host.invalid", "no results for hostname lookup"), ("a" * 70 + ".example", "is no host name")],
)
def test_names_that_lead_nowhere(host: str, reason: str) -> None:
    """What can't be resolved is said so."""

    async def main() -> None:
        with pytest.raises(Unavailable, match=reason):
            await connect(f"{host}:9192", deadline=1)

    run(main)


def test_nobody_there() -> None:
    """A port where nobody listens is refused in the system's words."""

    async def main() -> None:
        with pytest.raises(Unavailable, match=r"connection refused; is it .* 'twistd pyshard-bootstrap --config "):
            await connect("127.0.0.1:1", deadline=0.5)

    run(main)


def test_other_endpoint_strings() -> None:
    """A Twisted client endpoint string needs a reactor, so it is refused, with what can stand there."""

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"'unix:/run/pyshard'.* needs a reactor; on asyncio expected"):
            await connect("unix:/run/pyshard")

    run(main)


@LOOPS
def test_tokens(loop: str, tmp_path: Path) -> None:
    """The first token of the file is presented; its role counts; without one the cluster refuses."""
    file = tmp_path / "token"
    file.touch(0o600)

    async def main() -> None:
        async with LoopCluster(1, tokens=parse(TOKENS, "test")) as cluster:
            with pytest.raises(NotAuthenticated):
                await connect(cluster.server, token_file="")
            file.write_text(TOKENS)
            async with connect(cluster.server, token_file=file) as client:
                await client.write("a", 1)
            file.write_text(f"read {READER}\n")
            async with connect(cluster.server, token_file=file) as client:
                assert await client.has("a")
                with pytest.raises(PermissionDenied):
                    await client.write("a", 2)

    run(main, loop)


def test_closing_fails_what_is_open() -> None:
    """`close` fails what waits for answers, and returns when every connection is closed."""

    async def main() -> None:
        async with LoopCluster(1) as cluster:
            client = await connect(cluster.server)
            await client.write("a", 1)
            cluster.endpoints["shard0"].deaf = True
            reading = client.read("a")
            await asyncio.sleep(0.02)
            await client.close()
            with pytest.raises(ClientClosed):
                await reading
            cluster.endpoints["shard0"].hear()
            await until(lambda: len(cluster.endpoints["shard0"].streams) == 1, "only the bootstrap's is left")

    run(main)


def test_no_thread_is_started() -> None:
    """All work is done in the loop's own thread."""

    async def main() -> None:
        before = threading.active_count()
        async with LoopCluster(2) as cluster, connect(cluster.server) as client:
            await asyncio.gather(*(client.write(f"key{number}", number) for number in range(100)))
            assert threading.active_count() == before

    run(main)


def test_another_loop() -> None:
    """In another loop, in another thread and without a loop a client says that it belongs elsewhere."""

    async def elsewhere(client: AioClient) -> None:
        with pytest.raises(WrongEventLoop, match="another event loop"):
            client.read("a")
        with pytest.raises(WrongEventLoop, match="another event loop"):
            client.write("a", object())  # type: ignore[arg-type]  # that is the point
        with pytest.raises(WrongEventLoop, match="another event loop"):
            client.keys()
        with pytest.raises(WrongEventLoop, match="another event loop"):
            await client.close()

    def outside(client: AioClient) -> None:
        with pytest.raises(WrongEventLoop, match="no running event loop"):
            client.read_many(["a"])

    async def main() -> None:
        async with LoopCluster(1) as cluster, connect(cluster.server) as client:
            await asyncio.to_thread(asyncio.run, elsewhere(client))
            await asyncio.to_thread(outside, client)
            assert await client.read("a") is None

    run(main)


@LOOPS
def test_a_loop_that_shuts_down(loop: str) -> None:
    """A client that was left open is closed, with one warning of its own and none of asyncio's."""

    stopping: list[asyncio.Task[None]] = []

    async def main() -> list[AioClient]:
        cluster = LoopCluster(2)
        await cluster.__aenter__()
        client = await connect(cluster.server)
        await client.write_many({"a": 1, "b": 2})
        stopping.append(asyncio.create_task(_stop(cluster)))
        await asyncio.sleep(0)  # a task that is cancelled before it began ends nothing
        return [client]

    async def _stop(cluster: LoopCluster) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await cluster.__aexit__(None, None, None)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(main, loop)
    assert [str(one.message) for one in caught] == ["an asyncio client of pyshard was not closed"]
