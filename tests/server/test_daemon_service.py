"""The service that twistd runs: the log of its application, and what is read again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from server.test_signals_and_exit import Running
from twisted.application.service import Application, Service
from twisted.logger import ILogObserver

from pyshard.server.daemon_service import DaemonService
from pyshard.server.rotated_log_file import DaemonLog, LogBounds


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals for which a handler was installed, but not really."""
    found: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda number, _: found.append(number))
    return found


class Served(Service):
    """What a daemon serves."""

    def __init__(self, installed: list[int]) -> None:
        self.before = installed
        self.seen: list[int] = []

    def privilegedStartService(self) -> None:
        self.seen = list(self.before)


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
    DaemonService(Running(), Service(), log, []).setServiceParent(application)
    observer = application.getComponent(ILogObserver)
    observer({"log_format": "hello", "log_time": 0.0})
    log.close()
    assert "hello" in path.read_text()
    other = Application("pyshard")
    service = DaemonService(Running(), Service(), None, [])
    service.setServiceParent(other)
    assert other.getComponent(ILogObserver) is None
    assert service.parent is not None


def test_reload(tmp_path: Path) -> None:
    """The log is opened again, and everything else read again, each time; with or without a log file."""
    path = tmp_path / "shard.log"
    done: list[str] = []
    reloads = [lambda: done.append("tokens"), lambda: done.append("certificates")]
    log = DaemonLog(path, 0o600, LogBounds())
    for service in (
        DaemonService(Running(), Service(), log, reloads),
        DaemonService(Running(), Service(), None, reloads),
    ):
        service.reload()
        service.rotate()
    log.close()
    assert done == ["tokens", "certificates"] * 2
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["shard.log", "shard.log.1"]
