"""What systemd is told, over real sockets of its kind; tests/functional/test_services.py has a real daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from notify_socket import NotifySocket
from twisted.internet.task import Clock

from pyshard.server.systemd_notify import (
    INTERVAL,
    SystemdNotifier,
    socket_name,
    systemd_notifier,
    watchdog_interval,
)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    """Where systemd listens."""
    with NotifySocket(tmp_path / "notify") as made:
        yield made


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/run/systemd/notify", "/run/systemd/notify"),
        ("@pyshard", "\0pyshard"),
        ("vsock:2:1234", None),
        ("relative", None),
    ],
)
def test_socket_name(given: str, name: str | None) -> None:
    """A path, or a name that no file has; nothing else."""
    assert socket_name(given) == name


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], seconds: float | None) -> None:
    """It is systemd's number, if that is for this process."""
    assert watchdog_interval(environment, 7) == seconds


def test_without_a_watchdog(systemd: NotifySocket) -> None:
    """It is ready, and then tells only what has changed."""
    clock, status = Clock(), ["epoch 1"]
    notifier = SystemdNotifier(systemd.name, None, clock)
    assert systemd.heard() == []
    notifier.ready(lambda: status[0])
    assert systemd.heard() == ["READY=1\nSTATUS=epoch 1"]
    clock.advance(INTERVAL)
    assert systemd.heard() == []
    status[0] = "epoch 2"
    clock.advance(INTERVAL)
    assert systemd.heard() == ["STATUS=epoch 2"]
    notifier.close()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(("interval", "pause"), [(1.0, 0.5), (60.0, INTERVAL)])
def test_watchdog(interval: float, pause: float, systemd: NotifySocket) -> None:
    """systemd hears from it at half the interval, or sooner; also while it drains."""
    clock = Clock()
    notifier = SystemdNotifier(systemd.name, interval, clock)
    notifier.ready(str)
    notifier.stopping()
    assert systemd.heard() == ["READY=1\nWATCHDOG=1", "STOPPING=1\nSTATUS=draining\nWATCHDOG=1"]
    clock.pump([pause] * 3)
    assert systemd.heard() == ["WATCHDOG=1"] * 3
    notifier.close()


def test_names_add_no_lines(systemd: NotifySocket) -> None:
    """A shard's name, which a peer gave, can tell systemd nothing."""
    notifier = SystemdNotifier(systemd.name, None, Clock())
    notifier.ready(lambda: "shard a\nMAINPID=1, epoch 3")
    assert systemd.heard() == ["READY=1\nSTATUS=shard a\\nMAINPID=1, epoch 3"]
    notifier.close()


def test_systemd_is_slow(systemd: NotifySocket) -> None:
    """What its socket has no room for is told with the next message; nobody waits for it."""
    clock = Clock()
    others = SystemdNotifier(systemd.name, 0.1, clock)
    others.ready(str)
    for _ in range(10_000):
        clock.advance(1)
    others.close()
    notifier = SystemdNotifier(systemd.name, None, clock)
    notifier.ready(lambda: "epoch 1")
    assert "READY=1\nSTATUS=epoch 1" not in systemd.heard()
    clock.advance(INTERVAL)
    assert systemd.heard() == ["READY=1\nSTATUS=epoch 1"]
    notifier.close()


def test_systemd_is_gone(tmp_path: Path, log_lines: list[str]) -> None:
    """It is said once, and the daemon goes on."""
    clock = Clock()
    notifier = SystemdNotifier(str(tmp_path / "nobody"), None, clock)
    notifier.ready(str)
    clock.pump([INTERVAL] * 3)
    notifier.close()
    assert log_lines == ["warn: systemd can't be told how this daemon fares: No such file or directory"]


def test_by_the_environment(systemd: NotifySocket, log_lines: list[str]) -> None:
    """Nobody is told without a socket, or with one that isn't known here."""
    assert systemd_notifier({}, 1, Clock()) is None
    assert systemd_notifier({"NOTIFY_SOCKET": ""}, 1, Clock()) is None
    assert systemd_notifier({"NOTIFY_SOCKET": "vsock:2:1"}, 1, Clock()) is None
    assert log_lines == [
        "warn: NOTIFY_SOCKET: found 'vsock:2:1', expected a path or @NAME; systemd isn't told how this daemon fares"
    ]
    made = systemd_notifier({"NOTIFY_SOCKET": systemd.name}, 1, Clock())
    assert made is not None
    made.close()


def test_an_abstract_socket() -> None:
    """One that no file has is reached as any other."""
    with NotifySocket(f"\0pyshard-test-{os.getpid()}") as systemd:
        made = systemd_notifier({"NOTIFY_SOCKET": "@" + systemd.name[1:]}, 1, Clock())
        assert made is not None
        made.ready(str)
        assert systemd.heard() == ["READY=1"]
        made.close()
