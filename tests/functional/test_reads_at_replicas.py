"""Reads at replicas in real processes: members answer for a while when nobody leads, and then nobody does."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import pytest_twisted
from functional.cluster import PATIENCE, run, until
from functional.replicated_cluster import NewReplicatedCluster, ReplicatedCluster
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import blockingCallFromThread, deferToThread

from pyshard import Pyshard, connect
from pyshard.aio import connect as aio_connect
from pyshard.errors import Unavailable
from pyshard.replication.group_times import of_lease

pytestmark = pytest.mark.functional

_T = TypeVar("_T")

LEASE = 5.0  # so that members answer for as long as a slow machine may need to ask them
DOCUMENTS = {f"document {number}": number for number in range(500)}

#: Reads all documents within so many seconds.
ReadAll = Callable[[float], list[Any]]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine gives, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def end(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


def is_read(read_all: ReadAll, seconds: float) -> bool:
    """Whether all documents can be read."""
    try:
        return read_all(seconds) == list(DOCUMENTS.values())
    except Exception as error:
        if isinstance(error, Unavailable) or all(
            isinstance(one, Unavailable) for _, one in getattr(error, "failed", [])
        ):
            return False
        raise


def through_a_failover(cluster: ReplicatedCluster, read_all: ReadAll, name: str) -> None:
    """Kill primary and bootstrap: members answer, until what they have is too old. The next primary does, then."""
    for _ in range(10):  # so that it is known who is near; not all members need have everything yet
        is_read(read_all, PATIENCE)
        time.sleep(0.1)
    until(lambda: is_read(read_all, PATIENCE), f"{name}: members have what was written")
    cluster.bootstrap.kill()
    lost = cluster.primary()
    lost.kill()
    killed = time.monotonic()
    until(lambda: is_read(read_all, 2.0), f"{name}: members answer")
    assert time.monotonic() - killed < of_lease(LEASE).staleness, "nobody leads yet"
    until(lambda: not is_read(read_all, 0.5), f"{name}: what members have is too old")
    assert time.monotonic() - killed > LEASE / 2
    cluster.bootstrap.start()
    assert read_all(PATIENCE) == list(DOCUMENTS.values())
    lost.start()
    cluster.wait_whole()


@pytest.mark.parametrize("face", ["blocking", "deferred", "asyncio"])
@pytest_twisted.ensureDeferred
async def test_each_client(new_replicated_cluster: NewReplicatedCluster, face: str) -> None:
    """Single reads and bulk reads of each client, while primary and bootstrap are gone."""
    cluster = new_replicated_cluster(3, lease=LEASE)
    await deferToThread(started, cluster)
    keys = list(DOCUMENTS)
    if face == "blocking":
        app = await deferToThread(lambda: Pyshard(cluster.server, read_from="nearest"))

        def read_all(seconds: float) -> list[Any]:
            return [app.get(keys[0], deadline=seconds), *app.get_many(keys[1:], deadline=seconds)]

        await deferToThread(through_a_failover, cluster, read_all, face)
        app.close()
    elif face == "deferred":
        from twisted.internet import reactor  # as programs have it

        assert IReactorTime.providedBy(reactor)
        any_reactor: Any = reactor
        client = await connect(reactor, cluster.server, read_from="nearest")

        async def both(seconds: float) -> list[Any]:
            return [await client.get(keys[0], deadline=seconds), *await client.get_many(keys[1:], deadline=seconds)]

        def read_it(seconds: float) -> list[Any]:
            found: list[Any] = blockingCallFromThread(any_reactor, lambda: Deferred.fromCoroutine(both(seconds)))
            return found

        await deferToThread(through_a_failover, cluster, read_it, face)
        await client.close()
    else:
        loop = Loop()

        async def opened() -> Any:
            return await aio_connect(cluster.server, read_from="nearest")

        aio = await deferToThread(loop.run, opened())

        async def of_both(seconds: float) -> list[Any]:
            return [await aio.get(keys[0], deadline=seconds), *await aio.get_many(keys[1:], deadline=seconds)]

        await deferToThread(through_a_failover, cluster, lambda seconds: loop.run(of_both(seconds)), face)
        await deferToThread(loop.run, aio.close())
        await deferToThread(loop.end)


def started(cluster: ReplicatedCluster) -> None:
    """Start a cluster, and write the documents."""
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write_many(DOCUMENTS)


def test_the_command(new_replicated_cluster: NewReplicatedCluster) -> None:
    """`pyshard read --read-from nearest` and its like, and how old what members have is, in `pyshard stat`."""
    cluster = new_replicated_cluster(2, lease=1.0)
    started(cluster)

    def done(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pyshard", *arguments, "--bootstrap", cluster.server]
        ended = run(cluster.folder, cluster.environment, *command)
        return ended.returncode, ended.stdout, ended.stderr

    def pyshard(*arguments: str) -> str:
        code, printed, errors = done(*arguments)
        assert (code, errors) == (0, "")
        return printed

    def is_new() -> bool:
        found = done("read", "--read-from", "nearest", "document 7")
        assert found in {(0, "7\n", ""), (1, "", 'pyshard: there is no key "document 7"\n')}  # it may be a little old
        return found[0] == 0

    until(is_new, "the member has the document")
    assert pyshard("get", "--read-from", "nearest", "document 8") == "8\n"
    assert pyshard("has", "--read-from", "nearest", "document 9") == "true\n"
    assert '"record": 10' in pyshard("item", "--read-from", "nearest", "document 10")
    until(lambda: "/2 s old" in pyshard("stat"), "the member has told how old what it has is")
    assert pyshard("backup", "--from", "replica", "backup") == f"{len(DOCUMENTS)} documents backed up\n"
    assert {cluster.folder / "backup" / "0-a.records"} <= set((cluster.folder / "backup").iterdir())
