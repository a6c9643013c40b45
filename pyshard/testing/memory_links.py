"""The connections of a network in memory: what is under way in them, and what goes wrong with it."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport

#: Host and port.
Address: TypeAlias = tuple[str, int]

_ROUNDING = 1e-9  # seconds; a clock that has come to a moment may be a little before it


class Faults:
    """What goes wrong at which address.

    :ivar silent: nothing that the listener sends arrives.
    :ivar deaf: nothing that is sent to it arrives.
    :ivar delays: how many seconds bytes take, to it and from it.
    :ivar last: how many bytes still arrive, to it (False) or from it (True), before the connection breaks.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.silent: set[Address] = set()
        self.deaf: set[Address] = set()
        self.delays: dict[Address, float] = {}
        self.last: dict[tuple[Address, bool], int] = {}

    def hold(self, address: Address, answers: bool) -> bool:
        """Whether nothing arrives that way now."""
        return address in (self.silent if answers else self.deaf)

    def due(self, address: Address) -> float:
        """When what is sent now arrives."""
        return self.clock.seconds() + self.delays.get(address, 0.0)

    def last_of(self, address: Address, answers: bool, count: int) -> int | None:
        """Put down that bytes arrive; how many of them still do, if the connection breaks behind those."""
        left = self.last.get((address, answers))
        if left is None:
            return None
        if count < left:
            self.last[address, answers] = left - count
            return None
        del self.last[address, answers]
        return left


class Wire:
    """One connection.

    :ivar stranded: nothing arrives now; see `pyshard.testing.memory_network.MemoryNetwork.strand`.
    """

    def __init__(
        self,
        faults: Faults,
        address: Address,
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
        self._requests = _Way(self, faults, self._client, self._server, False)
        self._answers = _Way(self, faults, self._server, self._client, True)
        server.makeConnection(self._server)
        client.makeConnection(self._client)

    @property
    def ended(self) -> bool:
        """Whether it is gone for both."""
        return bool(self._server.disconnected and self._client.disconnected)

    def move(self) -> bool:
        """Carry what was written, each way; with nothing to carry, bring an end about. Whether anything moved."""
        ways = (self._answers, self._requests)
        for way in ways:
            way.take()
        carried = [way.carry() for way in ways]
        moved = any(carried) or any(way.close() for way in ways)
        if self.ended:
            self._lose()
        return moved

    def cut(self) -> None:
        """Break it for both."""
        self._server.stream, self._client.stream = [], []
        self._lose()
        self._server.disconnecting = self._client.disconnecting = True

    def _lose(self) -> None:
        for way in (self._requests, self._answers):
            way.lose()


class _Way:
    """One of a connection's two directions, and what is under way in it."""

    def __init__(self, wire: Wire, faults: Faults, source: FakeTransport, sink: FakeTransport, answers: bool) -> None:
        self._wire = wire
        self._faults = faults
        self._source = source
        self._sink = sink
        self._answers = answers
        self._under_way: deque[tuple[float, bytes | None]] = deque()  # when it arrives, and what; None: the end
        self._wake: IDelayedCall | None = None

    def take(self) -> None:
        """Take what was written."""
        data = self._source.getOutBuffer()
        if data:
            self._send(data)

    def carry(self) -> bool:
        """Have the next bytes arrive, or the end, if it is time; whether anything did."""
        if not self._under_way or self._held():
            return False
        due, data = self._under_way[0]
        if due > self._faults.clock.seconds() + _ROUNDING:
            if self._wake is None or not self._wake.active():
                self._wake = self._faults.clock.callLater(due - self._faults.clock.seconds(), lambda: None)
            return False
        self._under_way.popleft()
        if self._sink.disconnected:
            return True
        if data is None:
            self._end(self._sink)
            return True
        last = self._faults.last_of(self._wire.address, self._answers, len(data))
        if last is None:
            self._sink.bufferReceived(data)
        else:
            self._wire.cut()
            self._sink.bufferReceived(data[:last])
        return True

    def close(self) -> bool:
        """End the source's side if it wants to, and send word of it."""
        if not self._source.disconnecting or self._source.disconnected:
            return False
        self._end(self._source)
        self._send(None)
        return True

    def lose(self) -> None:
        """Lose all that is under way."""
        self._under_way.clear()
        if self._wake is not None and self._wake.active():
            self._wake.cancel()

    def _held(self) -> bool:
        return self._wire.stranded or self._faults.hold(self._wire.address, self._answers)

    def _send(self, data: bytes | None) -> None:
        due = self._faults.due(self._wire.address)
        if self._under_way:
            due = max(due, self._under_way[-1][0])
        self._under_way.append((due, data))

    def _end(self, transport: FakeTransport) -> None:
        transport.disconnecting = transport.disconnected = True
        transport.reportDisconnect()
