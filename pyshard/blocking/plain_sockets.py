"""Plain sockets and the machine's clock, as the blocking client uses them.

What it wants of them is `pyshard.blocking.calling_thread_tasks.Network`.

Rules:

- Sockets never block; whoever waits does so in `poll`, with the time that is left. A signal shortens no wait and
  lengthens none.
- The system's functions are looked up when they are called, so that they are gevent's where a program has them
  replaced, before or after this module was imported.
- A socket of the kind that was there before gevent replaced it isn't used any more: it would hold up all greenlets.
- A socket that nobody holds any more gives its descriptor back. There is no finalizer in Python here, since Python
  swallows what a signal's handler raises in one. Nor is there Python's own warning of such a socket (`_owner_of`).
- Names are looked up by `pyshard.blocking.name_look_up`.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Protocol, cast

from pyshard.blocking.calling_thread_tasks import PlainSocket, Steps, Wanted
from pyshard.blocking.name_look_up import look_up
from pyshard.clocks import steady_seconds
from pyshard.net.name_questions import FoundAddress

_READ = 128 * 1024 - 64  # bytes that are read at a time: the most that the C library gives without mapping memory
_LONGEST = 2**31 - 1  # milliseconds that `poll` can wait: 24 days


class Owner(Protocol):
    """What closes a descriptor, at the latest when nobody holds it any more."""

    def close(self) -> None:
        """Close it now."""
        ...


def _type_of(kind: type[socket.socket]) -> type[socket.socket]:
    """What makes sockets of a kind: the type in C in place of Python's own class; gevent's class as it is.

    A constructor in Python can be interrupted when the descriptor is there. Then nobody could close it.
    """
    return cast("type[socket.socket]", socket.SocketType) if kind.__module__ == socket.__name__ else kind


def _owner_of(made: socket.socket) -> Owner:
    """What is to own the descriptor of a socket from here on.

    Python warns of each socket that nobody closed. To make the warning's text it looks for signals, and forgets what
    their handlers raise. An epoll object owns any descriptor, and closes it without a word. Systems other than Linux
    have none, and gevent takes it away: there the socket goes on to own it.
    """
    epoll = getattr(select, "epoll", None)
    if epoll is None or type(made) is not socket.SocketType:
        return made
    owner: Owner = epoll.fromfd(made.fileno())
    made.detach()
    return owner


class SystemSocket:
    """A TCP socket.

    :param family: of the address, as the `socket` module has it.
    :param address: where to connect.
    :raises OSError: the system refuses at once.
    """

    __slots__ = ("_kind", "_mode", "_number", "_owner", "_poll")

    def __init__(self, family: int, address: object) -> None:
        self._mode = 0
        self._poll = select.poll()
        self._kind = socket.socket
        made = _type_of(self._kind)(family, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with suppress(BlockingIOError):  # it is under way
                made.connect(address)  # type: ignore[arg-type]  # what getaddrinfo gave
            self._number = made.fileno()
            self._owner = _owner_of(made)
        except BaseException:  # also an interruption: it must not be left to be found open
            made.close()
            raise

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._number

    def is_current(self) -> bool:
        """See `PlainSocket`."""
        return self._kind is socket.socket

    def send(self, data: bytes | memoryview) -> int:
        """See `PlainSocket`."""
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            return 0

    def receive(self) -> bytes | None:
        """See `PlainSocket`."""
        try:
            return os.read(self._number, _READ)
        except BlockingIOError:
            return None

    def failure(self) -> str | None:
        """See `PlainSocket`."""
        same = self._socket()
        try:
            number = same.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        finally:
            same.close()
        return os.strerror(number).lower() if number else None

    def wait(self, writing: bool, until: float) -> bool:
        """See `PlainSocket`."""
        mode = select.POLLOUT if writing else select.POLLIN
        if mode != self._mode:
            self._poll.register(self._number, mode)
            self._mode = mode
        milliseconds = (until - steady_seconds()) * 1000  # a part of one is rounded up
        if not 0 <= milliseconds <= _LONGEST:
            milliseconds = _LONGEST if milliseconds > 0 else 0
        return bool(self._poll.poll(milliseconds))

    def shut_down(self) -> None:
        """See `PlainSocket`."""
        try:
            same = self._socket()
            try:
                same.shutdown(socket.SHUT_RDWR)
            finally:
                same.close()
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EBADF):  # it is over already
                raise

    def close(self) -> None:
        """See `PlainSocket`."""
        self._number = -1
        self._owner.close()

    def _socket(self) -> socket.socket:
        """The socket, by another descriptor."""
        return _type_of(self._kind)(fileno=os.dup(self._number))


class SystemNetwork:
    """The machine's own sockets and clock, for one client."""

    now = staticmethod(steady_seconds)

    def sleep(self, until: float) -> None:
        """See `Network`."""
        left = until - steady_seconds()
        if left > 0:
            time.sleep(left)

    def addresses(self, host: str, port: int, until: float) -> Steps[Sequence[FoundAddress]]:
        """See `Network`."""
        return look_up(self, host, port, until)

    def open(self, address: object) -> SystemSocket:
        """See `Network`."""
        found: FoundAddress = address  # type: ignore[assignment]  # one of `addresses`
        return SystemSocket(found[0], found[4])

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """See `Network`."""
        if len(wanted) == 1:
            one, writing = wanted[0]
            return [one] if one.wait(writing, until) else []
        if not wanted:
            self.sleep(until)
            return []
        modes: dict[int, int] = {}
        sockets: dict[int, PlainSocket] = {}
        for one, writing in wanted:
            number = one.fileno()  # type: ignore[attr-defined]  # a SystemSocket
            modes[number] = modes.get(number, 0) | (select.POLLOUT if writing else select.POLLIN)
            sockets[number] = one
        poll = select.poll()
        for number, mode in modes.items():
            poll.register(number, mode)
        return [sockets[number] for number, _ in poll.poll(_milliseconds(until))]


def _milliseconds(until: float) -> int:
    """The time that is left, for `poll`."""
    left = until - steady_seconds()
    return ceil(min(left * 1000, _LONGEST)) if left > 0 else 0
