"""The blocking client where real programs use it: in threads, in forked children, beside a running reactor."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster
from ports import free_port
from twisted.internet.threads import deferToThread

from pyshard import Pyshard
from pyshard.errors import ClientClosed

pytestmark = pytest.mark.functional


def ran(cluster: Cluster, code: str, *arguments: str) -> str:
    """What a script prints; it must end with exit code 0 and write nothing to standard error."""
    done = cluster.script(dedent(code), cluster.server, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_threads(shared: Cluster) -> None:
    """Eight threads share one `Pyshard`: each gets the answers to its own calls, all of them."""
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait()
        for turn in range(100):
            key = f"threads {number} {turn}"
            assert app.write(key, [number, turn]) == 56 - 4 * (number == 0) - 4 * (turn == 0)
            found = app.read(key)
            assert found is not None
            assert found["record"] == [number, turn]
        return number

    with Pyshard(shared.server) as app, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == list(range(8))


def test_fork(shared: Cluster) -> None:
    """In a forked child a `Pyshard` connects anew, even one that a thread was using; the parent's goes on."""
    printed = ran(
        shared,
        """
        import os, sys, threading, traceback
        from pyshard import Pyshard

        app = Pyshard(sys.argv[1])
        app.write("fork parent", "hello")
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                app.write("fork busy", 1)

        thread = threading.Thread(target=busy)
        thread.start()
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                try:
                    assert app.read("fork parent")["record"] == "hello"
                    app.write(f"fork {number}", number)
                    app.close()
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            children.append(child)
            assert app.read("fork parent")["record"] == "hello"
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
        print([app.read(f"fork {number}")["record"] for number in range(4)])
        stop.set()
        thread.join()
        app.close()
        """,
    )
    assert printed.splitlines() == ["[0, 0, 0, 0]", "[0, 1, 2, 3]"]


def test_exit_without_close(shared: Cluster) -> None:
    """A process that never closes its `Pyshard` exits at once, silently."""
    began = time.monotonic()
    printed = ran(
        shared,
        """
        import sys
        from pyshard import Pyshard
        port = int(sys.argv[1].partition(":")[2])
        app = Pyshard(["localhost", port])
        print(app.write("exit", "hello world"))
        """,
    )
    assert printed == "60\n"
    assert time.monotonic() - began < 10  # the deadline of everything that it could wait for


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="descriptors can't be counted here")
def test_descriptors(shared: Cluster) -> None:
    """Opening and closing, or failing to open, leaves no descriptor and no thread behind."""
    printed = ran(
        shared,
        """
        import os, sys, threading
        from pyshard import Pyshard
        from pyshard.errors import Unavailable

        def count():
            return len(os.listdir("/dev/fd")), threading.active_count()

        def open_and_close():
            with Pyshard(sys.argv[1]) as app:
                app.write("descriptors", 1)
                app.write("more descriptors", 1)
            try:
                Pyshard(sys.argv[2], deadline=0.01)
            except Unavailable:
                pass

        open_and_close()
        before = count()
        for _ in range(20):
            open_and_close()
        print(count() == before, before, count())
        """,
        f"{HOST}:{free_port()}",
    )
    assert printed.startswith("True"), printed


@pytest_twisted.ensureDeferred
async def test_beside_a_reactor(shared: Cluster) -> None:
    """While the main reactor runs, blocking calls work in other threads: made, used and closed there."""

    def use(number: int) -> object:
        with Pyshard(shared.server) as app:
            app.write(f"beside {number}", number)
            return app.read(f"beside {number}")

    for call in [deferToThread(use, number) for number in range(4)]:
        found = await call
        assert isinstance(found, dict)
        assert found["record"] in range(4)


def test_closed(shared: Cluster) -> None:
    """After `close` every call raises `ClientClosed`; closing again is nothing."""
    app = Pyshard(shared.server)
    app.close()
    app.close()
    for call in (app.indexes, app.stat, lambda: app.read("test"), lambda: app.write("test", 1)):
        with pytest.raises(ClientClosed):
            call()
