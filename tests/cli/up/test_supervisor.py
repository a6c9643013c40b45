"""`up` at work, without processes: restarts, failures, and an end that waits for every daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from cli.up.configured import cluster
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IProcessTransport, IReactorCore, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.cli.signals import EndSignals
from pyshard.cli.up.cluster_choice import with_replicas
from pyshard.cli.up.daemon_commands import Daemon

if TYPE_CHECKING:
    from pyshard.cli.up.supervisor import ClusterRun


@implementer(IProcessTransport)
class Process:
    """A process that ends when it is told."""

    def __init__(self, protocol: ProcessProtocol) -> None:
        self.protocol = protocol
        self.signals: list[str] = []

    def signalProcess(self, number: str | int) -> None:  # noqa: N802  # Twisted's name
        """Take a signal."""
        self.signals.append(str(number))

    def end(self) -> None:
        """End."""
        self.protocol.processEnded(Failure(ProcessDone(0)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@implementer(IReactorCore, IReactorProcess)
class Reactor(MemoryReactorClock):
    """A reactor in memory that has processes, and runs until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.at_end: list[Callable[[], object]] = []
        self.stops = 0

    def spawnProcess(self, *arguments: Any, **_: Any) -> Process:  # noqa: N802
        """Start a process."""
        protocol: ProcessProtocol = arguments[0]
        made = Process(protocol)
        self.processes.append(made)
        protocol.makeConnection(made)
        return made

    def addSystemEventTrigger(self, *arguments: Any, **_: Any) -> None:  # noqa: N802
        """Remember what is to be done at the end."""
        phase, event, hook = arguments
        assert (phase, event) == ("before", "shutdown")
        self.at_end.append(hook)

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """Call at once."""
        function(*arguments)

    def run(self) -> None:
        """Call the hooks for a running reactor."""
        for function, arguments, keywords in self.whenRunningHooks:
            function(*arguments, **keywords)

    def stop(self) -> None:
        """Begin to stop."""
        self.stops += 1
        for hook in self.at_end:
            hook()


@attrs.define
class Signals(EndSignals):
    """Signals that only count how often they were installed."""

    received: bool = False
    installed: int = 0
    on_signal: Callable[[], object] = int

    def install(self) -> None:
        """Count."""
        self.installed += 1


class StartedRun:
    """A run of two daemons that has started."""

    def __init__(self, folder: Path, received: bool = False) -> None:
        from pyshard.cli.up.supervisor import ClusterRun

        self.reactor = Reactor()
        self.signals = Signals(received)
        self.told: list[str] = []
        self.daemons = [
            Daemon(name, folder / f"{name}.log", folder / f"{name}.pid", ["twistd", name]) for name in ("a", "b")
        ]
        for daemon in self.daemons:
            daemon.log.write_text("an earlier run\n")
        self.run: ClusterRun = ClusterRun(
            cast("Any", self.reactor),
            self.signals,
            self.daemons,
            ("127.0.0.1", 9192),
            self,
        )
        self.run.run()

    def tell(self, line: str) -> None:
        """See `IAnnouncements`."""
        self.told.append(line)

    def warn(self, line: str) -> None:
        """See `IAnnouncements`."""
        self.told.append(f"warning: {line}")

    def cluster_ready(self) -> None:
        """See `IAnnouncements`."""
        self.told.append("ready")

    def end(self, number: int, seconds: float = 2.0, line: str = "") -> None:
        """End a process `seconds` later, after a last line in the log of daemon a."""
        self.reactor.advance(seconds)
        with self.daemons[0].log.open("a") as log:
            log.write(line)
        self.reactor.processes[number].end()
        self.reactor.advance(0)


@pytest.fixture
def started(tmp_path: Path) -> StartedRun:
    """A run that has started."""
    return StartedRun(tmp_path)


def test_end_waits_for_every_process(tmp_path: Path) -> None:
    """A stop asks every process to end, and is done when the last one has."""
    from pyshard.cli.up.supervisor import Supervisor

    reactor = Reactor()
    supervisor = Supervisor(reactor, lambda _name, _times: None)
    for name in "ab":
        supervisor.addProcess(name, [name])
    supervisor.startService()
    done: list[object] = []
    supervisor.stopService().addCallback(done.append)
    assert [process.signals for process in reactor.processes] == [["TERM"], ["TERM"]]
    reactor.processes[0].end()
    reactor.advance(1)
    assert done == []
    reactor.processes[1].end()
    reactor.advance(1)
    assert done == [None]
    assert len(reactor.processes) == 2


def test_end_kills_what_does_not_end(tmp_path: Path) -> None:
    """A process that goes on for 7 seconds is killed."""
    from pyshard.cli.up.supervisor import Supervisor

    reactor = Reactor()
    supervisor = Supervisor(reactor, lambda _name, _times: None)
    supervisor.addProcess("a", ["a"])
    supervisor.startService()
    supervisor.stopService()
    reactor.advance(6.9)
    assert reactor.processes[0].signals == ["TERM"]
    reactor.advance(0.2)
    assert reactor.processes[0].signals == ["TERM", "KILL"]


def test_daemon_is_started_again(started: StartedRun) -> None:
    """A daemon that ends once before the cluster is ready is started again."""
    assert len(started.reactor.processes) == 2
    started.end(0)
    assert len(started.reactor.processes) == 3
    assert (started.reactor.stops, started.told) == (0, [])


def test_second_death_ends_it(started: StartedRun) -> None:
    """A daemon that dies twice before the cluster is ready ends everything, with what it has logged in this run."""
    started.end(0, line="first words\n")
    started.end(2, line="last words\n")
    assert started.run.failure == (
        "a ended 2 times before the cluster was ready; the end of its log:\n    first words\n    last words"
    )
    assert started.reactor.stops == 1
    assert started.reactor.processes[1].signals == ["TERM"]
    assert len(started.reactor.processes) == 3


def test_deaths_of_two_daemons_are_counted_apart(started: StartedRun) -> None:
    """Two daemons that end once each don't end the run."""
    started.end(0)
    started.end(1)
    assert started.run.failure is None


def test_silent_death(started: StartedRun) -> None:
    """A daemon that has logged nothing is named all the same."""
    started.end(1)
    started.end(2)
    assert (
        started.run.failure == "b ended 2 times before the cluster was ready; the end of its log:\n(it wrote nothing)"
    )


def test_quick_deaths_wait(started: StartedRun) -> None:
    """A daemon that dies at once is started again after a moment, not at once."""
    started.end(0, seconds=0.1)
    assert len(started.reactor.processes) == 2
    started.reactor.advance(0.2)
    assert len(started.reactor.processes) == 3


def test_not_ready_in_time(started: StartedRun) -> None:
    """Without a bootstrap that answers, it ends after 30 seconds."""
    started.reactor.pump([1.0] * 29)
    assert started.reactor.stops == 0
    started.reactor.pump([1.0] * 2)
    assert started.reactor.stops == 1
    assert started.run.failure is not None
    assert started.run.failure.startswith("the bootstrap at 127.0.0.1:9192 gave no answer within 30 s: ")


def test_signals(started: StartedRun) -> None:
    """Signals are handled again after the reactor took them; the first one stops the run without a failure."""
    assert started.signals.installed == 1
    started.signals(2, None)
    started.signals(2, None)
    assert (started.reactor.stops, started.run.failure) == (1, None)
    assert [process.signals for process in started.reactor.processes] == [["TERM"], ["TERM"]]


def test_signal_before_the_start(tmp_path: Path) -> None:
    """After a signal that came early, nothing is started."""
    started = StartedRun(tmp_path, received=True)
    assert (started.reactor.stops, started.reactor.processes) == (1, [])


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("old\nnew\n", 4, "    new"),
        ("rotated\n", 4000, "    rotated"),
        ("\n".join(map(str, range(30))), 0, "\n".join(f"    {number}" for number in range(15, 30))),
        ("", 0, ""),
    ],
)
def test_tail(tmp_path: Path, text: str, start: int, expected: str) -> None:
    """The last lines of a log, without those of an earlier run."""
    from pyshard.cli.up.supervisor import tail

    (tmp_path / "a.log").write_text(text)
    assert tail(tmp_path / "a.log", start) == expected


def test_no_log(tmp_path: Path) -> None:
    """A log that isn't there is empty."""
    from pyshard.cli.up.supervisor import log_size, tail

    assert (log_size(tmp_path / "none"), tail(tmp_path / "none", 0)) == (0, "")


def test_replicas_without_all_documents() -> None:
    """These are waited for; a shard without replicas has none."""
    from pyshard.cli.up.supervisor import without_all_documents

    shards = with_replicas(cluster(1001, 1002, bootstrap=1), 2).map
    assert without_all_documents(shards) == ["127.0.0.1:1101", "127.0.0.1:1102"]
    assert without_all_documents(cluster(1001, bootstrap=1).map) == []


def test_unready() -> None:
    """Everything but "ready" is not ready."""
    from pyshard.cli.up.supervisor import unready

    states: Sequence[dict[str, str]] = [{"state": state} for state in ("ready", "unreachable", "refused")]
    assert unready(list(states)) == [{"state": "unreachable"}, {"state": "refused"}]
