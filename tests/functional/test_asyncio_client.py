"""The asyncio client in processes of its own: no reactor, no threads, no warnings; kills and forks."""

from __future__ import annotations

import sys
import threading
from textwrap import dedent

import pytest
from functional.cluster import Cluster, run, until

pytestmark = pytest.mark.functional


#: Under development asyncio also logs what took long, as anything may on a machine that is busy.
_QUIET = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\n"


def ran(cluster: Cluster, code: str, *options: str) -> str:
    """What a script prints in Python's development mode, with every warning an error; it must end well, in silence."""
    command = [sys.executable, "-X", "dev", "-W", "error", *options, "-c", _QUIET + dedent(code), cluster.server]
    done = run(cluster.folder, cluster.environment, *command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_no_reactor_and_no_threads(shared: Cluster) -> None:
    """A program on asyncio never imports the global reactor, makes none of its own, and starts no thread."""
    printed = ran(
        shared,
        """
        import asyncio, gc, sys, threading
        from pyshard.aio import connect

        async def main():
            async with connect(sys.argv[1]) as client:
                await asyncio.gather(*(client.write(f"aio {n}", n) for n in range(500)))
                found = await client.read_many([f"aio {n}" for n in range(500)])
                assert [one["record"] for one in found] == list(range(500))
                assert len([key async for key in client.keys() if key.startswith("aio ")]) == 500
                print(threading.active_count())

        asyncio.run(main())
        print("twisted.internet.reactor" in sys.modules)
        from twisted.internet.base import ReactorBase
        print([one for one in gc.get_objects() if isinstance(one, ReactorBase)])
        """,
    )
    assert printed == "1\nFalse\n[]\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_name(shared: Cluster, loop: str) -> None:
    """A host is found by its name, and the process ends when its work is done."""
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop isn't installed")
    printed = ran(
        shared,
        f"""
        import asyncio, sys
        import {loop} as chosen
        from pyshard.aio import connect

        async def main():
            async with connect("localhost:" + sys.argv[1].rpartition(":")[2]) as client:
                print(await client.has("not there"))

        chosen.run(main())
        """,
    )
    assert printed == "False\n"


def test_a_client_that_is_left_open(shared: Cluster) -> None:
    """It is closed with its loop: the process ends, with one warning of the client's and none of asyncio's."""
    code = """
        import asyncio, sys
        from pyshard.aio import connect

        async def main():
            client = await connect(sys.argv[1])
            client.write("left open", 1)
            print(await client.has("left open"))

        asyncio.run(main())
        """
    command = [sys.executable, "-X", "dev", "-c", _QUIET + dedent(code), shared.server]
    done = run(shared.folder, shared.environment, *command)
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert done.stderr.count("Warning: ") == 1
    assert "ResourceWarning: an asyncio client of pyshard was not closed" in done.stderr


def test_a_loop_that_is_closed_without_a_word(shared: Cluster) -> None:
    """Where nothing shuts the loop down, the process ends all the same."""
    code = """
        import asyncio, sys
        from pyshard.aio import connect

        async def main():
            client = await connect(sys.argv[1])
            print(await client.has("not there"))
            return client

        loop = asyncio.new_event_loop()
        client = loop.run_until_complete(main())
        loop.close()
        """
    done = run(shared.folder, shared.environment, sys.executable, "-c", dedent(code), shared.server)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_a_fork(shared: Cluster) -> None:
    """A forked child's verbs say that the client is the parent's. Its own client works, and the parent's goes on."""
    printed = ran(
        shared,
        """
        import asyncio, os, sys
        from pyshard.aio import connect
        from pyshard.errors import WrongEventLoop

        async def child(client):
            try:
                client.read("forked")
            except WrongEventLoop as error:
                print("refused:", "process" in str(error), flush=True)
            async with connect(sys.argv[1]) as own:
                print(await own.increment("forked"), flush=True)

        async def main():
            async with connect(sys.argv[1]) as client:
                await client.write("forked", 1)
                if not (pid := os.fork()):
                    code = 1
                    try:
                        asyncio.run(child(client))
                        code = 0
                    finally:
                        os._exit(code)
                assert os.waitpid(pid, 0)[1] == 0
                print(await client.increment("forked"))

        asyncio.run(main())
        """,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert printed == "refused: True\n2\n3\n"


def test_a_shard_that_is_killed(cluster: Cluster) -> None:
    """Its keys wait for it, or say what is unknown, and those of the other shard go on; then all is as before."""
    (own,), (other,) = cluster.keys(0, 1), cluster.keys(1, 1)
    victim, gave_up = cluster.shards[0], cluster.folder / "gave-up"
    cluster_script = f"""
        import asyncio, os, signal, sys
        from pathlib import Path
        from pyshard.aio import connect
        from pyshard.errors import OutcomeUnknown, Unavailable

        async def main():
            async with connect(sys.argv[1], deadline=30) as client:
                await asyncio.gather(client.write({own!r}, 1), client.write({other!r}, 1))
                os.kill({victim.pid}, signal.SIGKILL)
                try:
                    await client.read({own!r}, deadline=0.3)
                except Unavailable:
                    print("unavailable", flush=True)
                print(await client.increment({other!r}), flush=True)
                Path({str(gave_up)!r}).touch()
                print(await client.read({own!r}))
                print(await client.increment({own!r}))

        asyncio.run(main())
        """

    def revive() -> None:
        until(gave_up.exists, "the client has done without it")
        victim.wait()
        victim.start()
        victim.wait_listening()

    reviving = threading.Thread(target=revive)
    reviving.start()
    try:
        assert ran(cluster, cluster_script) == "unavailable\n2\nNone\n1\n"
    finally:
        reviving.join()
