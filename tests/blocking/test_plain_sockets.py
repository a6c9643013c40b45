"""The system's sockets, as the blocking client uses them."""

from __future__ import annotations

import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyshard.blocking import plain_sockets
from pyshard.blocking.calling_thread_tasks import Steps, run
from pyshard.blocking.plain_sockets import SystemNetwork, SystemSocket
from pyshard.clocks import steady_seconds


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


class Struck(Exception):
    """What a signal's handler raises."""


def strike(*_: object) -> None:
    """A signal's handler."""
    raise Struck


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no epoll")
def test_forgotten_sockets_swallow_nothing(address: tuple[str, int]) -> None:
    """What a signal's handler raises while sockets are forgotten comes out each time; no descriptor is left over."""
    before = sorted(Path("/proc/self/fd").iterdir())
    old = signal.signal(signal.SIGALRM, strike)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # as programs have it that ask for no warnings
            for turn in range(200):
                forgotten = [SystemSocket(socket.AF_INET, address) for _ in range(30)]
                with pytest.raises(Struck):
                    forget(forgotten, 1e-6 * (1 + turn))
                forgotten.clear()  # where the signal came before `forget` did it
    finally:
        signal.signal(signal.SIGALRM, old)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def forget(sockets: list[SystemSocket], seconds: float) -> None:
    """Forget sockets; a signal comes after some seconds."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    sockets.clear()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        pass


def test_a_socket_is_current(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket of a kind that somebody has replaced since isn't used any more; one of the new kind is."""
    old = SystemSocket(socket.AF_INET, address)
    assert old.is_current()

    class Replaced(socket.socket):
        """As gevent puts its own in place."""

    monkeypatch.setattr(socket, "socket", Replaced)
    new = SystemSocket(socket.AF_INET, address)
    assert (old.is_current(), new.is_current()) == (False, True)
    for one in (old, new):
        one.close()


def test_steps_that_are_left_clean_up_at_once() -> None:
    """An exception that strikes between two steps ends them then and there, not when somebody forgets them."""
    ended: list[bool] = []

    class Struck:
        """Steps; an interruption comes when they have begun."""

        def send(self, _: object) -> object:
            raise KeyboardInterrupt

        def close(self) -> None:
            ended.append(True)

    steps: Steps[None] = Struck()  # type: ignore[assignment]  # as much of a generator as is used
    with pytest.raises(KeyboardInterrupt):
        run(SystemNetwork(), steps)
    assert ended == [True]


@pytest.mark.parametrize(
    ("left", "asked"), [(-1.0, 0), (0.0, 0), (0.25, 250), (1e-7, 1e-4), (1e9, 2**31 - 1), (float("inf"), 2**31 - 1)]
)
def test_how_long_a_socket_is_waited_for(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, left: float, asked: float
) -> None:
    """As long as is left, as far as `poll` can be told; not at all when nothing is."""
    waits: list[float] = []

    class Poll:
        """What `select.poll` makes."""

        def register(self, number: int, mode: int) -> None:
            assert number >= 0
            assert mode == select.POLLIN

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waits.append(milliseconds)
            return []

    monkeypatch.setattr(select, "poll", Poll)
    monkeypatch.setattr(plain_sockets, "steady_seconds", lambda: 512.0)
    waiting = SystemSocket(socket.AF_INET, address)
    assert not waiting.wait(False, 512.0 + left)
    waiting.close()
    assert waits == [pytest.approx(asked, abs=1e-9)]


def test_no_wait_is_too_short(address: tuple[str, int]) -> None:
    """What is left of a millisecond is waited for, too: nobody is told too early that nothing came."""
    waiting = SystemSocket(socket.AF_INET, address)
    for _ in range(20):
        until = steady_seconds() + 0.0007
        assert not waiting.wait(False, until)
        assert steady_seconds() >= until
    waiting.close()
