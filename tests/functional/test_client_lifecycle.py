"""Clients as programs really treat them: closed in the middle, interrupted, forked, left behind, a thousand of them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from textwrap import dedent

import pytest
from functional.cluster import PATIENCE, Cluster, until

from pyshard import Pyshard
from pyshard.errors import ClientClosed, OutcomeUnknown

pytestmark = pytest.mark.functional

#: Tells whether a thread waits in the middle of a function; in `answer_at_once`, for the answer to what it has sent.
_WAITS = """
import sys
import traceback

def waits(thread, function):
    frame = sys._current_frames().get(thread.ident)
    names = [] if frame is None else [one.f_code.co_name for one, _ in traceback.walk_stack(frame)]
    return names[:1] == ["wait"] and function in names
"""


def ran(cluster: Cluster, code: str, *arguments: str) -> str:
    """What a script prints; it must end with exit code 0 and write nothing to standard error."""
    done = cluster.script(_WAITS + dedent(code), cluster.server, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.long
def test_thousand_clients(shared: Cluster) -> None:
    """A thousand clients at once, each with connections of its own, all get their own answers."""
    printed = ran(
        shared,
        """
        import resource, sys
        from twisted.internet import task
        from twisted.internet.defer import gatherResults
        from pyshard import connect

        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

        async def main(reactor):
            clients = await gatherResults([connect(reactor, sys.argv[1], deadline=30) for _ in range(1000)])
            for _ in range(2):
                await gatherResults([one.write(f"thousand {n}", n) for n, one in enumerate(clients)])
                found = await gatherResults([one.read(f"thousand {n}") for n, one in enumerate(clients)])
                assert [one["record"] for one in found] == list(range(1000))
            stat = await clients[0].stat()
            print(min(one["connected"] for one in stat["shards"]) > 400)
            await gatherResults([one.close() for one in clients])

        task.react(main)
        """,
    )
    assert printed == "True\n"


def test_closed_while_calls_are_under_way(cluster: Cluster) -> None:
    """Closing ends the calls of other threads at once, each with the truth; closing again is nothing."""
    app = Pyshard(cluster.server, deadline=PATIENCE)
    (key,), (other,) = cluster.keys(0, 1), cluster.keys(1, 1)
    app.write_many({key: 1, other: 1})
    for shard in cluster.shards:
        shard.send(signal.SIGSTOP)
    failed: dict[str, type[Exception]] = {}

    def call(name: str, function: Callable[[], object]) -> None:
        try:
            function()
        except (ClientClosed, OutcomeUnknown) as error:
            failed[name] = type(error)

    calls: dict[str, Callable[[], object]] = {"read": lambda: app.read(key), "increment": lambda: app.increment(other)}
    threads = [threading.Thread(target=call, args=one) for one in calls.items()]
    for thread in threads:
        thread.start()
    known: dict[str, Callable[[threading.Thread, str], bool]] = {}
    exec(_WAITS, known)
    until(lambda: all(known["waits"](one, "answer_at_once") for one in threads), "both calls wait for answers")
    began = time.monotonic()
    app.close()
    app.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert time.monotonic() - began < 5
    for shard in cluster.shards:
        shard.send(signal.SIGCONT)
    assert failed == {"read": ClientClosed, "increment": OutcomeUnknown}
    with pytest.raises(ClientClosed):
        app.read(key)


def test_interrupted(cluster: Cluster) -> None:
    """Ctrl-C in the middle of a call raises KeyboardInterrupt there, and the next call works."""
    cluster.shards[0].send(signal.SIGSTOP)
    printed = ran(
        cluster,
        """
        import os, signal, threading, time
        from pyshard import Pyshard

        app = Pyshard(sys.argv[1], deadline=30)

        def interrupt():
            while not waits(threading.main_thread(), "read"):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        try:
            app.read(sys.argv[2])
        except KeyboardInterrupt:
            print("interrupted")
        os.kill(int(sys.argv[3]), signal.SIGCONT)
        print(app.write(sys.argv[2], 1), app.read(sys.argv[2])["record"])
        """,
        cluster.keys(0, 1)[0],
        str(cluster.shards[0].pid),
    )
    assert printed == "interrupted\n28 1\n"


def test_exit_with_calls_under_way(cluster: Cluster) -> None:
    """A program that ends while its daemon threads wait for answers ends at once, and silently."""
    cluster.shards[0].send(signal.SIGSTOP)
    began = time.monotonic()
    printed = ran(
        cluster,
        """
        import atexit, threading, time
        from pyshard import Pyshard

        app = Pyshard(sys.argv[1], deadline=60)
        threads = [threading.Thread(target=app.read, args=(sys.argv[2],), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        while not all(waits(thread, "read") for thread in threads):
            time.sleep(0.01)
        atexit.register(lambda: print(app.write(sys.argv[3], 1)))
        """,
        cluster.keys(0, 1)[0],
        cluster.keys(1, 1)[0],
    )
    assert printed == "28\n"
    assert time.monotonic() - began < PATIENCE
    cluster.shards[0].send(signal.SIGCONT)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(shared: Cluster, method: str) -> None:
    """Workers of multiprocessing use a `Pyshard`: inherited by a fork, or made in each; the parent's goes on."""
    (shared.folder / f"workers_{method}.py").write_text(
        dedent(
            """
            import multiprocessing, sys
            from pyshard import Pyshard

            app = None

            def work(number):
                global app
                if app is None:
                    app = Pyshard(sys.argv[1])
                app.write(f"worker {number}", number)
                return app.read(f"worker {number}")["record"]

            if __name__ == "__main__":
                app = Pyshard(sys.argv[1])
                app.write("worker", 1)
                with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
                    print(pool.map(work, range(6)))
                print(app.read("worker")["record"])
            """
        )
    )
    printed = ran(
        shared,
        "import runpy, sys; sys.path.insert(0, '.'); runpy.run_path(sys.argv[3], run_name='__main__')"
        if method == "fork"
        else "import subprocess, sys; subprocess.run([sys.executable, sys.argv[3], *sys.argv[1:3]], check=True)",
        method,
        f"workers_{method}.py",
    )
    assert printed == "[0, 1, 2, 3, 4, 5]\n1\n"


def test_in_a_reactor_and_in_a_loop(shared: Cluster) -> None:
    """A call in a reactor's callback, or in a coroutine of asyncio, blocks it until the answer is there, and works."""
    printed = ran(
        shared,
        """
        import asyncio, sys
        from twisted.internet import asyncioreactor
        from pyshard import Pyshard

        app = Pyshard(sys.argv[1])

        def call(_=None):
            print(app.has("not there"))

        async def in_a_plain_loop():
            call()

        asyncio.run(in_a_plain_loop())
        loop = asyncio.new_event_loop()
        asyncioreactor.install(loop)
        from twisted.internet import reactor
        reactor.callWhenRunning(call)
        reactor.callLater(0, reactor.stop)
        reactor.run()
        call()
        """,
    )
    assert printed == "False\n" * 3


@pytest.mark.long
def test_idle_while_the_shard_restarts(cluster: Cluster) -> None:
    """A client that does nothing while its shards are killed and restarted makes its next call as any other."""
    keys = [cluster.keys(number, 1)[0] for number in range(2)]
    with Pyshard(cluster.server, deadline=PATIENCE) as app:
        for key in keys:
            app.write(key, 1)
        for daemon in cluster.shards:
            daemon.kill()
            daemon.start()
            daemon.wait_listening()
        assert [app.increment(key) for key in keys] == [1, 1]


def test_deferred_client_in_a_forked_child(shared: Cluster) -> None:
    """In a forked child the parent's Deferred client is closed: it touches no connection, and the parent's goes on."""
    printed = ran(
        shared,
        """
        import os, sys
        from twisted.internet import task
        from pyshard import connect

        async def main(reactor):
            client = await connect(reactor, sys.argv[1])
            await client.write("forked", 1)
            child = os.fork()
            if child == 0:
                for call in (lambda: client.read("forked"), client.indexes, lambda: client.read_many(["forked"])):
                    call().addErrback(lambda failure: os.write(1, failure.type.__name__.encode() + b" "))
                client.close()
                os._exit(0)
            os.waitpid(child, 0)
            print((await client.read("forked"))["record"])
            await client.close()

        task.react(main)
        """,
    )
    assert printed == "ClientClosed ClientClosed ClientClosed 1\n"
