"""The names that a Deferred client or a daemon dials: not in the reactor's threads."""

from __future__ import annotations

from typing import Any

import pytest
from deferreds import error_in
from net.held_questions import HeldQuestions
from net.test_client_endpoints import TwoAddresses
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool

from pyshard.net import client_endpoints, reactor_names
from pyshard.net.client_endpoints import dial_with


class Reactor(MemoryReactorClock):
    """A reactor in memory with Twisted's own resolver, whose thread pool nobody may use."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.installNameResolver(GAIResolver(self, self._pool))  # type: ignore[arg-type]  # as much of a reactor as is used

    def callFromThread(self, callable: Any, *args: object, **kw: object) -> None:
        """See `IReactorFromThreads`."""
        self.calls.append(callable)

    @property
    def dialed(self) -> list[tuple[str, int]]:
        """Where it was told to connect."""
        return [(host, port) for host, port, *_ in self.tcpClients]

    def run_calls(self) -> None:
        """Call what other threads have it call."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def _pool(self) -> ThreadPool:
        raise AssertionError("a name took a thread of the reactor's pool")


class Bench:
    """Dials names on a reactor.

    :ivar outcome: what connections failed with.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 100) -> None:
        self.held = HeldQuestions(monkeypatch, most)
        self.reactor = Reactor()
        names = reactor_names.ReactorNames(self.reactor, self.held.questions)
        monkeypatch.setattr(client_endpoints, "ReactorNames", lambda _: names)
        self.dial = dial_with(self.reactor, self.reactor)
        self.outcome: list[Any] = []

    def connect(self, host: str) -> Deferred[IProtocol]:
        """Dial a host."""
        connecting = self.dial(host, 9192).connect(Factory())
        connecting.addBoth(self.outcome.append)
        return connecting

    def answer(self, host: str) -> None:
        """Answer the question for a name."""
        self.held.answer(host)
        self.reactor.run_calls()

    @property
    def error(self) -> BaseException:
        """What it failed with."""
        return error_in(self.outcome)


def test_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name takes no thread of the reactor's pool, and its first address is dialed when it is there."""
    bench = Bench(monkeypatch)
    bench.connect("db.test")
    assert (bench.held.under_way, bench.reactor.dialed) == (["db.test"], [])
    bench.answer("db.test")
    assert (bench.reactor.dialed, bench.outcome) == ([("10.0.0.1", 9192)], [])


def test_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine itself is dialed at once."""
    bench = Bench(monkeypatch, 0)
    bench.connect("localhost")
    assert bench.reactor.dialed == [("10.0.0.1", 9192)]


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is an error that shows it."""
    bench = Bench(monkeypatch)
    bench.connect("none.test")
    bench.answer("none.test")
    assert isinstance(bench.error, DNSLookupError)
    assert str(bench.error).endswith("no results for hostname lookup: none.test.")


def test_a_dial_that_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It no longer waits; dialed again, a name is asked for once, and one that had no room isn't asked for at all."""
    bench = Bench(monkeypatch, 1)
    for name in ("slow.test", "further.test"):
        bench.connect(name).cancel()
    assert [type(found.value) for found in bench.outcome] == [CancelledError, CancelledError]
    bench.connect("slow.test")
    assert bench.held.under_way == ["slow.test"]
    bench.answer("slow.test")
    assert (bench.held.asked, bench.reactor.dialed) == ([("slow.test", 0)], [("10.0.0.1", 9192)])
    assert (bench.held.under_way, len(bench.outcome)) == ([], 2)


def test_a_resolver_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the program has installed is asked."""
    bench = Bench(monkeypatch)
    bench.reactor.installNameResolver(TwoAddresses())
    bench.connect("db.test")
    assert (bench.held.under_way, bench.reactor.dialed) == ([], [("10.0.0.1", 9192)])


def test_each_way_to_dial_has_names_of_its_own() -> None:
    """Two clients on one reactor don't share one part of the places; all that one of them dials does."""
    reactor = Reactor()
    first, second = dial_with(reactor, reactor), dial_with(reactor, reactor)
    owners = [dial("db.test", 1).resolver for dial in (first, first, second)]  # type: ignore[attr-defined]  # by a name
    assert owners[0] is owners[1]
    assert owners[0] is not owners[2]
