"""The blocking client in a forked child: it connects anew, and the parent's goes on."""

from __future__ import annotations

import os
import select
import signal
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from blocking.connecting import Connector
from twisted.internet.defer import gatherResults, succeed

from pyshard import Pyshard
from pyshard.blocking import pyshard as blocking_module


def in_child(function: Callable[[], str]) -> str:
    """The result of a function in a forked child, or the name of the error that it raises."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, when there are other threads
        child = os.fork()
    if child == 0:  # pragma: no cover  # measured in the parent only
        answer = "nothing"
        try:
            answer = function()
        except BaseException as error:  # noqa: BLE001  # the parent judges it
            answer = type(error).__name__
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        found = answers.read() if select.select([answers], [], [], 20)[0] else "it hangs"
    if found == "it hangs":
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_connects_anew(app: Pyshard, connector: Connector) -> None:
    """A child's first call makes a client of its own; the parent's goes on untouched."""
    app.write("test", "from the parent")

    def child() -> str:
        found = app.read("test")
        assert found is not None
        app.write("test", "from the child")
        return f"{found['record']!r}, {len(connector.clients)} clients"

    assert in_child(child) == "'from the parent', 2 clients"
    assert len(connector.clients) == 1
    assert app.read("test") == {"hash_": 0.1671936, "record": "from the parent"}  # each has its own memory


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_in_the_midst_of_calls(app: Pyshard, connector: Connector) -> None:
    """A child that is forked while other threads make calls and hold locks works."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            app.write("test", 1)

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()

    client = SimpleNamespace(has=lambda *_, **__: succeed("here"))  # the child's copy of the cluster is half changed

    def child() -> str:
        vars(blocking_module)["connect"] = lambda *_, **__: succeed(client)
        return str(app.has("test"))

    try:
        assert [in_child(child) for _ in range(5)] == ["here"] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert app.write("test", 1) == 28


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_a_lock_is_held(app: Pyshard) -> None:
    """A lock that another thread held at the fork would be held for ever in the child, so the child makes a new one."""
    app.write("test", 1)
    with app._lock:
        assert in_child(lambda: str(app.has("test"))) == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_scan_does_not_go_on_in_a_forked_child(app: Pyshard) -> None:
    """A scan belongs to its process: in a child it raises instead of touching the parent's connections."""
    app.run(lambda client: gatherResults([client.write(key, 1) for key in range(100)]))
    scan = app.keys()
    first = next(scan)

    def child() -> str:
        return str(len(list(scan)))

    assert in_child(child) == "ClientClosed"
    assert len([first, *scan]) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_an_app_that_was_closed_is_closed_in_a_child_too(connector: Connector) -> None:
    """An app that was closed before the fork is closed in the child, too."""
    app = Pyshard()
    app.close()
    assert in_child(lambda: str(app.has("test"))) == "ClientClosed"
