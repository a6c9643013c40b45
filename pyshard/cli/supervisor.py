"""`pyshard up` at work: a cluster's daemons as child processes, from their start to their end.

Rules kept here: a daemon that ends is started again, unless it does so twice before the cluster is ready; nothing
is left running. Importing this module installs the global reactor (through Twisted's procmon): import it in a
function.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.runner.procmon import ProcessMonitor

from pyshard.cli.signals import EndSignals
from pyshard.cli.up_plan import Daemon, Guard
from pyshard.client import connect
from pyshard.errors import PyshardError, Unavailable
from pyshard.steps import Steps

#: Seconds in which the cluster must be ready.
READY = 30.0

_DEATHS = 2  # of one daemon before the cluster is ready, after which `up` gives up
_LOOK = 0.1
_TAIL = 15  # lines


class Supervisor(ProcessMonitor):
    """A `ProcessMonitor` that tells of restarts, and whose stop waits for the ends of its processes.

    :param ended: called before a process is started again, with its name and how often it has ended.
    """

    killTime = 7  # noqa: N815  # seconds; a daemon drains for up to 6
    minRestartDelay = 0.2  # type: ignore[assignment]  # noqa: N815  # seconds; declared as an int
    maxRestartDelay = 10  # noqa: N815

    def __init__(self, reactor: IReactorProcess, ended: Callable[[str, int], None]) -> None:
        super().__init__(reactor)
        self._time = IReactorTime(reactor)
        self._ended = ended
        self._starts: Counter[str] = Counter()

    def startProcess(self, name: str) -> None:  # noqa: N802  # Twisted's name
        """Start a process, or start it again."""
        if self._starts[name]:
            self._ended(name, self._starts[name])
        self._starts[name] += 1
        if self.running:
            super().startProcess(name)

    @inlineCallbacks
    def stopService(self) -> Steps[None]:  # type: ignore[override]  # IService allows a Deferred, procmon gives none
        super().stopService()
        while self.protocols:
            yield deferLater(self._time, _LOOK / 4)


class Reactor(IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime):
    """What a run uses of the reactor."""


class Run:
    """One run of a cluster, from the reactor's start to its stop.

    :param reactor: the global one; it isn't running yet.
    :param signals: end it; they are installed.
    :param daemons: what to run.
    :param bootstrap: the bootstrap's host and port.
    :param tell: is given lines for the user.
    :param ready: called when every shard is.
    :param guard: who may use the cluster.
    :ivar failure: why it ended without having been asked to.
    """

    def __init__(
        self,
        reactor: Reactor,
        signals: EndSignals,
        daemons: Sequence[Daemon],
        bootstrap: tuple[str, int],
        tell: Callable[[str], None],
        ready: Callable[[], None],
        guard: Guard | None = None,
    ) -> None:
        self._reactor = reactor
        self._signals = signals
        self._daemons = {one.name: one for one in daemons}
        self._bootstrap = bootstrap
        self._tell = tell
        self._on_ready = ready
        self._guard = guard or Guard()
        self._is_ready = False
        self._stopping = False
        self._logged = {one.name: log_size(one.log) for one in daemons}
        self._supervisor = Supervisor(reactor, self._ended)
        self.failure: str | None = None

    def run(self) -> None:
        """Run until a signal comes or something fails; when it returns, every daemon has ended."""
        for one in self._daemons.values():
            self._supervisor.addProcess(one.name, one.wrapped, env=dict(os.environ))
        self._reactor.addSystemEventTrigger("before", "shutdown", self._supervisor.stopService)
        self._reactor.callWhenRunning(self._begin)
        self._reactor.run()

    def _begin(self) -> None:
        if self._signals.came:
            self.stop()
            return
        self._signals.on_signal = lambda: self._reactor.callFromThread(self.stop)
        self._signals.install()  # Twisted has just installed its own
        self._supervisor.startService()
        self._wait().addErrback(self._not_ready)

    def stop(self, failure: str | None = None) -> None:
        """End everything; a second call does nothing."""
        if not self._stopping:
            self._stopping = True
            self.failure = failure
            self._reactor.stop()

    @inlineCallbacks
    def _wait(self) -> Steps[None]:
        """Wait until every shard is ready."""
        reactor = self._reactor
        end = reactor.seconds() + READY
        client = yield connect(
            reactor, self._bootstrap, deadline=READY, token_file=self._guard.token_file, tls=self._guard.tls or False
        )
        try:
            while True:
                shards = yield client.readiness(deadline=max(_LOOK, end - reactor.seconds()))
                late = [f"shard {one['name']!r} at {one['address']}: {one['detail']}" for one in unready(shards)]
                if not late:
                    break
                if reactor.seconds() >= end:
                    raise Unavailable(f"after {READY:g} s not every shard is ready; {'; '.join(late)}")
                yield deferLater(reactor, _LOOK)
        finally:
            client.close()
        if not self._stopping:
            self._is_ready = True
            self._on_ready()

    def _not_ready(self, failure: Failure) -> None:
        """The wait has failed: with one of pyshard's errors, or with a bug, whose traceback is shown."""
        known = failure.check(PyshardError)
        self.stop(failure.getErrorMessage() if known else failure.getTraceback())

    def _ended(self, name: str, times: int) -> None:
        """A daemon has ended, and is about to be started again."""
        daemon = self._daemons[name]
        if self._stopping:
            return
        if self._is_ready:
            self._tell(f"{name} ended, and is started again; its log: {daemon.log}")
        elif times >= _DEATHS:
            last = tail(daemon.log, self._logged[name]) or "(it wrote nothing)"
            self.stop(f"{name} ended {times} times before the cluster was ready; the end of its log:\n{last}")


def unready(shards: list[dict[str, str]]) -> list[dict[str, str]]:
    """The shards that aren't ready, of those that `Client.readiness` tells of."""
    return [one for one in shards if one["state"] != "ready"]


def log_size(log: Path) -> int:
    """The bytes of a log that are there already."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, start: int) -> str:
    """The last lines of a log, without what was there before; indented.

    :param start: its size before.
    """
    try:
        data = log.read_bytes()
    except OSError:
        return ""
    lines = data[start if start <= len(data) else 0 :].decode("utf-8", "replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL:])
