"""Sockets in memory for the blocking client: its calls reach a cluster in memory, and time passes while they wait.

Rules:

- A wait lets the cluster's time pass from one due call to the next, until a socket is ready or its own time comes.
- Threads take turns; one of them at a time lets time pass.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pyshard.blocking.calling_thread_tasks import PlainSocket, Steps, Wanted
from pyshard.testing.memory_network import MemoryNetwork

_IDLE = 0.05  # seconds that pass at a time when nothing is due


class _Received(Protocol):
    """The client's end of a connection: what arrives is kept."""

    def __init__(self, arrived: Callable[[], object]) -> None:
        self._arrived = arrived
        self.data: list[bytes] = []
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)
        self._arrived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True
        self._arrived()


class MemorySocket:
    """One connection.

    :param sockets: where it belongs.
    :param protocol: its end of the connection; None: the address refuses.
    """

    def __init__(self, sockets: MemorySockets, protocol: _Received | None) -> None:
        self._sockets = sockets
        self._protocol = protocol

    def ready(self, writing: bool) -> bool:
        """Whether it can be written to, or read from."""
        end = self._protocol
        return writing or end is None or bool(end.data) or end.ended

    def is_current(self) -> bool:
        """See `PlainSocket`."""
        return True

    def send(self, data: bytes | memoryview) -> int:
        """See `PlainSocket`."""
        with self._sockets.lock:
            transport = self._open().transport
            assert transport is not None
            transport.write(bytes(data))
            return len(data)

    def receive(self) -> bytes | None:
        """See `PlainSocket`."""
        with self._sockets.lock:
            end = self._protocol
            if end is None:
                raise OSError(errno.EBADF, "the connection was closed")
            data = b"".join(end.data)
            end.data.clear()
            return data or (b"" if end.ended else None)

    def failure(self) -> str | None:
        """See `PlainSocket`."""
        return "connection refused" if self._protocol is None else None

    def wait(self, writing: bool, until: float) -> bool:
        """See `PlainSocket`."""
        return bool(self._sockets.wait([(self, writing)], until))

    def shut_down(self) -> None:
        """See `PlainSocket`."""
        with self._sockets.lock:
            if self._protocol is not None and not self._protocol.ended:
                cast(ITCPTransport, self._protocol.transport).loseConnection()
                self._protocol.ended = True
                self._sockets.arrived()

    def close(self) -> None:
        """See `PlainSocket`."""
        self.shut_down()
        self._protocol = None

    def _open(self) -> _Received:
        if self._protocol is None or self._protocol.ended:
            raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        return self._protocol


class MemorySockets:
    """Sockets on a network in memory (`pyshard.blocking.calling_thread_tasks.Network`).

    :param network: which.
    :param pass_time: lets some seconds pass; default: the network does.
    :ivar lock: held by the thread that does something on the network.
    """

    def __init__(self, network: MemoryNetwork, pass_time: Callable[[float], None] | None = None) -> None:
        self._network = network
        self._pass_time = pass_time or network.advance
        self.lock = threading.RLock()

    def now(self) -> float:
        """See `Network`."""
        return self._network.clock.seconds()

    def sleep(self, until: float) -> None:
        """See `Network`."""
        self.wait([], until)

    def addresses(self, host: str, port: int, until: float) -> Steps[Sequence[tuple[str, int]]]:
        """See `Network`."""
        yield from ()
        return [(host, port)]

    def open(self, address: object) -> MemorySocket:
        """See `Network`."""
        with self.lock:
            found: list[object] = []
            factory = Factory.forProtocol(lambda: _Received(self.arrived))
            connected = self._network.connect(cast("tuple[str, int]", address), factory)
            connected.addBoth(found.append)
            end = found[0]
            return MemorySocket(self, end if isinstance(end, _Received) else None)

    def arrived(self) -> None:
        """Something has arrived at a socket, or ended it; `wait` looks for itself."""

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """See `Network`."""
        while True:
            with self.lock:
                self._network.settle()
                ready = [one for one, writing in wanted if cast(MemorySocket, one).ready(writing)]
                if ready or self.now() >= until:
                    return ready
                upcoming = self._network.next_call()
                step = _IDLE if upcoming is None else max(0.0, upcoming - self.now())
                self._pass_time(min(step, until - self.now()))
            time.sleep(1e-5)  # more than none, so that another thread gets the lock
