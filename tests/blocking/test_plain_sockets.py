"""The system's sockets, as the blocking client uses them."""

from __future__ import annotations

import gc
import socket
import sys
import warnings
from collections.abc import Iterator
from types import FrameType

import pytest

from pyshard.blocking.plain_sockets import SystemNetwork, SystemSocket
from pyshard.blocking.thread_tasks import Steps, run


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def test_a_socket_that_is_forgotten_runs_no_python(address: tuple[str, int]) -> None:
    """What a signal's handler raises in Python code of a finalizer would be swallowed, so there is none."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname)

    forgotten = [SystemSocket(socket.AF_INET, address)]
    number = forgotten[0].fileno()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as a program has it that asks for no warnings
        gc.collect()
        sys.setprofile(note)
        forgotten.clear()
        sys.setprofile(None)
    assert called == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        socket.socket(fileno=number)


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
