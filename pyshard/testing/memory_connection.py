"""A connection of a network in memory: the bytes on their way over it, and the faults that they meet.

Rules:

- bytes arrive in the order sent, whatever their delays;
- the end of a connection travels like bytes, behind them;
- a broken connection loses the bytes on their way.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport

#: Host and port.
HostPort: TypeAlias = tuple[str, int]

_ROUNDING = 1e-9  # seconds; a clock advanced to a time may be a little before it


class NetworkFaults:
    """The faults of a network, by address.

    :ivar silent: addresses whose listener sends nothing that arrives.
    :ivar deaf: addresses whose listener receives nothing.
    :ivar delays: the seconds that bytes take, to a listener and from it.
    :ivar bytes_left: how many bytes still arrive, at a listener (False) or from it (True), before a break.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.silent: set[HostPort] = set()
        self.deaf: set[HostPort] = set()
        self.delays: dict[HostPort, float] = {}
        self.bytes_left: dict[tuple[HostPort, bool], int] = {}

    def held_back(self, address: HostPort, answers: bool) -> bool:
        """Whether nothing arrives in this direction now."""
        return address in (self.silent if answers else self.deaf)

    def arrival(self, address: HostPort) -> float:
        """When bytes that are sent now arrive."""
        return self.clock.seconds() + self.delays.get(address, 0.0)

    def count_arriving(self, address: HostPort, answers: bool, count: int) -> int | None:
        """Count bytes that arrive now.

        :return: None, or how many of them arrive before the connection breaks.
        """
        left = self.bytes_left.get((address, answers))
        if left is None:
            return None
        if count < left:
            self.bytes_left[address, answers] = left - count
            return None
        del self.bytes_left[address, answers]
        return left


class MemoryConnection:
    """One connection between a client and a listener's protocol.

    :ivar stranded: whether everything is held back; see `pyshard.testing.memory_network.MemoryNetwork.strand`.
    """

    def __init__(
        self,
        faults: NetworkFaults,
        address: HostPort,
        server: IProtocol,
        client: IProtocol,
        here: IAddress,
        there: IAddress,
    ) -> None:
        self.address = address
        self.stranded = False
        self._faults = faults
        self._server = FakeTransport(server, True, hostAddress=there, peerAddress=here)
        self._client = FakeTransport(client, False, hostAddress=here, peerAddress=there)
        self._requests = _Direction(self, faults, self._client, self._server, False)
        self._answers = _Direction(self, faults, self._server, self._client, True)
        server.makeConnection(self._server)
        client.makeConnection(self._client)

    @property
    def ended(self) -> bool:
        """Whether both ends have lost it."""
        return bool(self._server.disconnected and self._client.disconnected)

    def carry(self) -> bool:
        """Carry bytes in both directions; with none to carry, carry the end.

        :return: whether anything arrived.
        """
        directions = (self._answers, self._requests)
        for direction in directions:
            direction.collect()
        arrived = [direction.deliver() for direction in directions]
        anything = any(arrived) or any(direction.close() for direction in directions)
        if self.ended:
            self._lose()
        return anything

    def cut(self) -> None:
        """Break it for both ends."""
        self._server.stream, self._client.stream = [], []
        self._lose()
        self._server.disconnecting = self._client.disconnecting = True

    def _lose(self) -> None:
        for direction in (self._requests, self._answers):
            direction.lose()


class _Direction:
    """One of a connection's two directions, and the bytes on their way in it."""

    def __init__(
        self,
        connection: MemoryConnection,
        faults: NetworkFaults,
        source: FakeTransport,
        sink: FakeTransport,
        answers: bool,
    ) -> None:
        self._connection = connection
        self._faults = faults
        self._source = source
        self._sink = sink
        self._answers = answers
        self._in_transit: deque[tuple[float, bytes | None]] = deque()  # when it arrives, and the bytes; None: the end
        self._wake: IDelayedCall | None = None

    def collect(self) -> None:
        """Send the bytes that the source has written."""
        data = self._source.getOutBuffer()
        if data:
            self._send(data)

    def deliver(self) -> bool:
        """Deliver the next bytes, or the end, if it is time; whether anything arrived."""
        if not self._in_transit or self._held_back():
            return False
        due, data = self._in_transit[0]
        if due > self._faults.clock.seconds() + _ROUNDING:
            if self._wake is None or not self._wake.active():
                self._wake = self._faults.clock.callLater(due - self._faults.clock.seconds(), lambda: None)
            return False
        self._in_transit.popleft()
        if self._sink.disconnected:
            return True
        if data is None:
            self._end(self._sink)
            return True
        last = self._faults.count_arriving(self._connection.address, self._answers, len(data))
        if last is None:
            self._sink.bufferReceived(data)
        else:
            self._connection.cut()
            self._sink.bufferReceived(data[:last])
        return True

    def close(self) -> bool:
        """Close the source's end if it asked for that, and send the end to the sink."""
        if not self._source.disconnecting or self._source.disconnected:
            return False
        self._end(self._source)
        self._send(None)
        return True

    def lose(self) -> None:
        """Lose everything on its way."""
        self._in_transit.clear()
        if self._wake is not None and self._wake.active():
            self._wake.cancel()

    def _held_back(self) -> bool:
        return self._connection.stranded or self._faults.held_back(self._connection.address, self._answers)

    def _send(self, data: bytes | None) -> None:
        due = self._faults.arrival(self._connection.address)
        if self._in_transit:
            due = max(due, self._in_transit[-1][0])
        self._in_transit.append((due, data))

    def _end(self, transport: FakeTransport) -> None:
        transport.disconnecting = transport.disconnected = True
        transport.reportDisconnect()
