"""What every test gets: it fails when an error was logged, or a Deferred was left with one that nobody handled.

pytest itself notices neither (trial does). A test that expects an error takes it with `logged_errors`. Below stand the
fixtures that several files of tests share.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from hypothesis import settings as hypothesis_settings
from in_process_command import Commands
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from pyshard import Client
from pyshard.server import listen_address
from pyshard.testing import MemoryCluster

# Nothing here is quick or slow by itself: the machine decides. CI runs the same examples each time.
_examples = int(os.environ.get("PYSHARD_TEST_EXAMPLES", "0"))
hypothesis_settings.register_profile("here", deadline=None, max_examples=_examples or 100)
hypothesis_settings.register_profile("ci", deadline=None, max_examples=_examples or 12, derandomize=True)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "here")

#: Takes the errors logged so far (those of the given classes; all, without) and forgets them.
TakeErrors = Callable[..., list[BaseException]]


@implementer(ILogObserver)
class _Logged:
    """A log observer: the errors, and the lines of all loggers but Twisted's own."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        failure = event.get("log_failure") or event.get("failure")  # the latter from `twisted.python.log.err`
        if failure is not None:
            self.errors.append(failure.value)
        elif event.get("isError") or level >= LogLevel.error:
            self.errors.append(AssertionError(formatEvent(event)))
        if not str(event.get("log_namespace", "log_legacy")).startswith(("twisted", "log_legacy")):
            self.lines.append(f"{level.name}: {formatEvent(event)}")

    def take(self, *classes: type[BaseException]) -> list[BaseException]:
        """The errors of these classes (of all, without), which are forgotten."""
        taken = [error for error in self.errors if isinstance(error, classes or BaseException)]
        self.errors = [error for error in self.errors if error not in taken]
        return taken


def pytest_collection_finish() -> None:
    """Spare the collector what was imported until here, so that a full collection after each test costs little."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Take off again what pytest-twisted wraps around the function that Hypothesis calls.

    It does so for every parameter of a test, and can't run what it has wrapped before.
    """
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    inner = getattr(hypothesis, "inner_test", None)
    try:
        return (yield)
    finally:
        if hypothesis is not None:
            hypothesis.inner_test = inner


@pytest.fixture(scope="session", autouse=True)
def _quiet_log() -> None:
    """Keep Twisted from storing events, and the objects in them, until somebody begins to log."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


@pytest.fixture(autouse=True)
def _logged(request: pytest.FixtureRequest) -> Iterator[_Logged]:
    """Fail the test when an error is left, in the log or in a Deferred."""
    logged = _Logged()
    globalLogPublisher.addObserver(logged)
    try:
        yield logged
        _let_go(request.node)
        gc.collect()  # what was left in Deferreds is logged now
        gc.freeze()  # what pytest and Hypothesis keep of each test needn't be looked through after every later one
    finally:
        globalLogPublisher.removeObserver(logged)
    if logged.errors:
        pytest.fail("errors were logged: " + "; ".join(f"{type(error).__name__}: {error}" for error in logged.errors))


def _let_go(test: pytest.Item) -> None:
    """Have nothing hold on to a test's arguments, in which Deferreds may be.

    pytest-twisted runs tests in its reactor's greenlet, whose frames keep them until the reactor has gone on.
    """
    from twisted.internet import reactor

    getattr(test, "funcargs", {}).clear()
    pytest_twisted.blockon(deferLater(reactor, 0))


@pytest.fixture
def logged_errors(_logged: _Logged) -> TakeErrors:
    """Takes the errors that were logged: all, or those of the classes that it is given. What is left fails the test."""
    return _logged.take


@pytest.fixture
def log_lines(_logged: _Logged) -> list[str]:
    """What was logged so far, but by Twisted itself, as ``level: text``."""
    return _logged.lines


# -- what several files share ---------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards and a bootstrap."""
    with MemoryCluster() as made:
        yield made


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client of `cluster`."""
    return cluster.connect()


@pytest.fixture
def pyshard(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The command, on `cluster`."""
    return Commands(cluster, monkeypatch)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The hosts and ports that were to be listened on; each of them can be."""
    found: list[tuple[str, int]] = []

    def listen_string(host: str, port: int) -> str:
        found.append((host, port))
        return f"tcp:port={port}:interface=127.0.0.1"

    monkeypatch.setattr(listen_address, "listen_string", listen_string)
    return found
