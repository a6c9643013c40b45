"""`pyshard up` at work: the daemons of a cluster as child processes, from their start to their end.

Rules:

- a daemon that ends is started again; one that ends twice before the cluster is ready ends the run;
- a cluster that isn't ready in time ends the run;
- it is ready when all replicas have all documents, too; where that takes longer, it says so;
- when its shards are ready, it is brought to the config that it is to have. If that is refused, it runs on as it is;
- nothing is left running: the run ends when every daemon has ended;
- importing this module installs the global reactor (Twisted's procmon does), so it is imported in a function.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.runner.procmon import ProcessMonitor

from pyshard.cli.signals import EndSignals
from pyshard.cli.up.announcements import IAnnouncements
from pyshard.cli.up.daemon_commands import Access, Daemon
from pyshard.client import Client, connect
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import PyshardError, Unavailable
from pyshard.model.config_file import ClusterConfig
from pyshard.model.layout_change import layout_change
from pyshard.model.shard_map import ShardMap

#: Seconds within which the cluster must be ready.
READY_WITHIN = 30.0

_ENDS = 2  # of one daemon before the cluster is ready, after which the run ends
_POLL = 0.1  # seconds between two questions whether the cluster is ready
_TAIL = 15  # lines of a log that a message quotes


class Supervisor(ProcessMonitor):
    """A `ProcessMonitor` that reports restarts, and whose stop waits for the end of its processes.

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

    def stopService(self) -> Deferred[None]:  # type: ignore[override]  # IService allows a Deferred, procmon gives none
        """End all processes.

        :return: a Deferred that fires when the last one has ended.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._all_ended())

    async def _all_ended(self) -> None:
        while self.protocols:
            await deferLater(self._time, _POLL / 4)


class RunReactor(IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime):
    """What a run uses of the reactor."""


class RunState(Enum):
    """How far a run is; it only goes forward."""

    STARTING = auto()
    READY = auto()
    STOPPING = auto()


class ClusterRun:
    """One run of a cluster, from the reactor's start to its stop.

    :param reactor: the global one; it isn't running yet.
    :param signals: end the run; they are installed.
    :param daemons: what to run.
    :param bootstrap: host and port at which this machine reaches the bootstrap.
    :param observer: hears of the run.
    :param access: who may use the cluster.
    :param wanted: the config to which the cluster is brought; None: it stays as it is.
    :ivar failure: why it ended, unless it was asked to.
    """

    def __init__(
        self,
        reactor: RunReactor,
        signals: EndSignals,
        daemons: Sequence[Daemon],
        bootstrap: tuple[str, int],
        observer: IAnnouncements,
        access: Access | None = None,
        wanted: ClusterConfig | None = None,
    ) -> None:
        self._reactor = reactor
        self._signals = signals
        self._daemons = {daemon.name: daemon for daemon in daemons}
        self._bootstrap = bootstrap
        self._observer = observer
        self._access = access or Access()
        self._wanted = wanted
        self._state = RunState.STARTING
        self._old_log_sizes = {daemon.name: log_size(daemon.log) for daemon in daemons}
        self._supervisor = Supervisor(reactor, self._daemon_ended)
        self.failure: str | None = None

    def run(self) -> None:
        """Run until a signal arrives or something fails; when it returns, every daemon has ended."""
        for daemon in self._daemons.values():
            self._supervisor.addProcess(daemon.name, daemon.wrapped, env=dict(os.environ))
        self._reactor.addSystemEventTrigger("before", "shutdown", self._supervisor.stopService)
        self._reactor.callWhenRunning(self._start)
        self._reactor.run()

    def _start(self) -> None:
        if self._signals.received:
            self.stop()
            return
        self._signals.on_signal = lambda: self._reactor.callFromThread(self.stop)
        self._signals.install()  # Twisted has just installed its own
        self._supervisor.startService()
        Deferred.fromCoroutine(self._wait_until_ready()).addErrback(self._wait_failed)

    def stop(self, failure: str | None = None) -> None:
        """End everything; a second call does nothing."""
        if self._state is not RunState.STOPPING:
            self._state = RunState.STOPPING
            self.failure = failure
            self._reactor.stop()

    async def _wait_until_ready(self) -> None:
        reactor = self._reactor
        end = reactor.seconds() + READY_WITHIN
        client = await connect(
            reactor,
            self._bootstrap,
            deadline=READY_WITHIN,
            token_file=self._access.token_file,
            tls=self._access.tls or False,
            addresses={},  # it asks the bootstrap alone; whatever the environment says
        )
        try:
            while True:
                shards = await client.readiness(deadline=max(_POLL, end - reactor.seconds()))
                late = [
                    f"shard {shard['name']!r} at {shard['address']}: {shard['detail']}" for shard in unready(shards)
                ]
                if not late:
                    break
                if reactor.seconds() >= end:
                    raise Unavailable(f"after {READY_WITHIN:g} s not every shard is ready; {'; '.join(late)}")
                await deferLater(reactor, _POLL)
            if self._wanted is not None:
                await self._apply(client, self._wanted)
            await self._wait_for_replicas(LayoutClient(client), end)
        finally:
            client.close()
        if self._state is RunState.STARTING:
            self._state = RunState.READY
            self._observer.cluster_ready()

    async def _wait_for_replicas(self, layout: LayoutClient, end: float) -> None:
        """Wait until each replica has all documents, so that one may be killed; and say so if that takes longer."""
        while lacking := without_all_documents((await layout.state()).map):
            if self._reactor.seconds() >= end:
                self._observer.warn(f"These replicas haven't all documents yet: {', '.join(lacking)}")
                return
            await deferLater(self._reactor, _POLL)

    async def _apply(self, client: Client, wanted: ClusterConfig) -> None:
        """Bring the cluster to a config, and say what becomes of that."""
        layout = LayoutClient(client)
        state = await layout.state()
        try:
            if layout_change(state, wanted.map).nothing:
                return
            moves = await layout.apply(wanted, state)
        except PyshardError as error:
            self._observer.warn(f"The cluster stays as it is: {error}")
        else:
            moving = f"{len(moves)} moves of ranges are planned; 'pyshard jobs' shows how far they are"
            self._observer.tell(f"The cluster is brought to its config: {moving if moves else 'no range moves'}.")

    def _wait_failed(self, failure: Failure) -> None:
        """End the run with one of pyshard's errors, or with the traceback of a bug."""
        known = failure.check(PyshardError)
        self.stop(failure.getErrorMessage() if known else failure.getTraceback())

    def _daemon_ended(self, name: str, times: int) -> None:
        """A daemon has ended, and is about to be started again."""
        daemon = self._daemons[name]
        if self._state is RunState.READY:
            self._observer.warn(f"{name} ended, and is started again; its log: {daemon.log}")
        elif self._state is RunState.STARTING and times >= _ENDS:
            last = tail(daemon.log, self._old_log_sizes[name]) or "(it wrote nothing)"
            self.stop(f"{name} ended {times} times before the cluster was ready; the end of its log:\n{last}")


def unready(shards: list[dict[str, str]]) -> list[dict[str, str]]:
    """The shards that aren't ready.

    :param shards: as `Client.readiness` describes them.
    """
    return [shard for shard in shards if shard["state"] != "ready"]


def without_all_documents(shards: ShardMap) -> list[str]:
    """The addresses of the replicas that aren't members."""
    groups = [shard.group for shard in shards.shards if shard.group is not None]
    return [address for group in groups for address in group.learners]


def log_size(log: Path) -> int:
    """The bytes in a log; 0 if there is none."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, start: int) -> str:
    """The last lines that this run wrote into a log, indented.

    :param start: the log's size before the run, in bytes.
    """
    try:
        data = log.read_bytes()
    except OSError:
        return ""
    lines = data[start if start <= len(data) else 0 :].decode("utf-8", "replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TAIL:])
