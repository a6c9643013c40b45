"""The service that twistd runs: the log of its application, and what is read again."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from notify_socket import NotifySocket
from server.test_signals_and_exit import Running
from twisted.application.service import Application
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver

from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.server.daemon_service import DaemonService
from pyshard.server.described_service import DescribedService
from pyshard.server.log_lines import LogFormat
from pyshard.server.rotated_log_file import DaemonLog, LogBounds
from pyshard.server.systemd_notify import SystemdNotifier


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals for which a handler was installed, but not really."""
    found: list[int] = []
    own = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}  # the tests' reactor may begin to run, and install others
    monkeypatch.setattr(signal, "signal", lambda number, _: found.append(number) if number in own else None)
    return found


class Served(DescribedService):
    """What a daemon serves."""

    def __init__(self, installed: Sequence[int] = ()) -> None:
        super().__init__()
        self.before = installed
        self.listening: Deferred[None] = succeed(None)
        self.drained: Deferred[None] = succeed(None)
        self.seen: list[int] = []

    def privilegedStartService(self) -> None:
        self.seen = list(self.before)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.drained

    def when_listening(self) -> Deferred[None]:
        return self.listening

    def status(self) -> str:
        return "as it should be"

    def log_fields(self) -> dict[str, str]:
        return {"shard": "a"}


def test_signals_come_first(installed: list[int]) -> None:
    """When what is served begins to open its data, no signal but Twisted's own ends the process any more."""
    served = Served(installed)
    service = DaemonService(Running(), served, None, [])
    assert installed == []
    service.privilegedStartService()
    assert set(served.seen) == {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def test_the_log_of_the_application(tmp_path: Path) -> None:
    """An application logs into the daemon's file; without one, it logs as twistd has it."""
    path = tmp_path / "shard.log"
    application = Application("pyshard")
    log = DaemonLog(path, 0o600, LogBounds())
    DaemonService(Running(), Served(), log, []).setServiceParent(application)
    observer = application.getComponent(ILogObserver)
    observer({"log_format": "hello", "log_time": 0.0})
    log.close()
    assert "hello" in path.read_text()
    other = Application("pyshard")
    service = DaemonService(Running(), Served(), None, [])
    service.setServiceParent(other)
    assert other.getComponent(ILogObserver) is None
    assert service.parent is not None


def test_the_fields_of_all_lines(tmp_path: Path) -> None:
    """In JSON each line has what the service says of itself."""
    application = Application("pyshard")
    log = DaemonLog(tmp_path / "log", 0o600, LogBounds(), LogFormat.JSON)
    DaemonService(Running(), Served(), log, []).setServiceParent(application)
    application.getComponent(ILogObserver)({"log_format": "hello", "log_namespace": "twisted"})
    log.close()
    assert json.loads((tmp_path / "log").read_text())["shard"] == "a"


def test_systemd(installed: list[int], tmp_path: Path) -> None:
    """It hears that the daemon listens, that it stops before it drains, and of the drain until its end."""
    served, clock = Served(), Clock()
    served.listening, served.drained = Deferred(), Deferred()
    with NotifySocket(tmp_path / "notify") as systemd:
        notifier = SystemdNotifier(systemd.name, 4.0, clock)
        service = DaemonService(Running(), served, None, [], notifier)
        service.startService()
        assert systemd.heard() == []
        served.listening.callback(None)
        assert systemd.heard() == ["READY=1\nSTATUS=as it should be\nWATCHDOG=1"]
        stopped = service.stopService()
        assert systemd.heard() == ["STOPPING=1\nSTATUS=draining\nWATCHDOG=1"]
        clock.advance(2)
        assert systemd.heard() == ["WATCHDOG=1"]
        ended = [stopped.called]
        served.drained.callback(None)
        assert [*ended, stopped.called] == [False, True]
        clock.advance(60)
        assert systemd.heard() == []
        assert clock.getDelayedCalls() == []


def test_reload(tmp_path: Path) -> None:
    """The log is opened again, and everything else read again, each time; with or without a log file."""
    path = tmp_path / "shard.log"
    done: list[str] = []
    reloads = [lambda: done.append("tokens"), lambda: done.append("certificates")]
    log = DaemonLog(path, 0o600, LogBounds())
    for service in (
        DaemonService(Running(), Served(), log, reloads),
        DaemonService(Running(), Served(), None, reloads),
    ):
        service.reload()
        service.rotate()
    log.close()
    assert done == ["tokens", "certificates"] * 2
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["shard.log", "shard.log.1"]


def test_collections_are_noted_while_it_runs(installed: list[int]) -> None:
    """So that what the garbage collector takes is counted against nobody."""
    service = DaemonService(Running(), Served(), None, [])
    assert COLLECTOR_TIME.note not in gc.callbacks
    service.startService()
    assert COLLECTOR_TIME.note in gc.callbacks
    service.stopService()
    assert COLLECTOR_TIME.note not in gc.callbacks
