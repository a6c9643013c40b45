"""The blocking client in a forked child: it connects anew, and the parent's goes on."""

from __future__ import annotations

import os
import select
import signal
import warnings
from collections.abc import Callable, Iterator

import pytest

from pyshard import Pyshard
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.model.key_slots import slot_of
from pyshard.testing import MemoryCluster


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
def test_a_forked_child_connects_anew(app: Pyshard) -> None:
    """A child's first call makes a client of its own; the parent's goes on untouched."""
    app.write("test", "from the parent")

    def child() -> str:
        found = app.read("test")
        assert found is not None
        app.write("test", "from the child")
        return f"{found['record']!r}, {app._made is not made}"

    made = app._made
    assert in_child(child) == "'from the parent', True"
    assert app._made is made
    assert app.read("test") == {"hash_": 0.1671936, "record": "from the parent"}  # each has its own memory


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_in_the_middle_of_a_call(app: Pyshard) -> None:
    """A child that is forked within a call doesn't go on with it; its next call connects anew."""
    app.write("a", 1)

    answers: list[str] = []

    def pairs() -> Iterator[tuple[str, int]]:
        yield "a", 2
        answers.append(in_child(lambda: f"{app.read('a') and 'read'}"))

    assert app.write_many(pairs()) == [28]
    assert answers == ["read"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_connection_of_the_parent_is_never_used(app: Pyshard) -> None:
    """A call that finds itself in a child in its middle ends, and touches nothing of the parent's."""
    app.write("test", 1)
    made = app._made
    assert made is not None

    def child() -> str:
        made.operate(GatheredOperation("read", "", b"test", slot_of(b"test"), made.network.now() + 1, 4))
        return "read over the parent's connection"

    assert in_child(child) == "ClientClosed"
    assert app.write("test", 1) == 28


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_scan_does_not_go_on_in_a_forked_child(app: Pyshard) -> None:
    """A scan belongs to its process: in a child it raises instead of touching the parent's connections."""
    app.write_many(dict.fromkeys(range(100), 1))
    scan = app.keys()
    first = next(scan)
    assert in_child(lambda: str(len(list(scan)))) == "ClientClosed"
    assert len([first, *scan]) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_an_app_that_was_closed_is_closed_in_a_child_too(cluster: MemoryCluster) -> None:
    """An app that was closed before the fork is closed in the child, too."""
    app = cluster.blocking()
    app.close()
    assert in_child(lambda: str(app.has("test"))) == "ClientClosed"
