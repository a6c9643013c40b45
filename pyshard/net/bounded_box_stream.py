"""Sends and receives AMP's messages, called boxes, over one connection: within limits, and with backpressure.

`pyshard.net.command_connection` is built on it: there a box is a call or an answer.

Rules:

- A box has at most so many keys and bytes, and a peer has so long to finish one. Stock AMP takes any box.
- Nothing is read from a peer that doesn't read its answers, or that has many answers outstanding. So neither fills the
  memory.
- A breach of the protocol ends the connection at once, with one line in the log.
- A small box is handed to the system at once; what the system doesn't take, and each large box, waits in the transport.
  A large box for TLS is given to it in pieces (`pyshard.net.piecewise_writer`).
"""

from __future__ import annotations

from typing import ClassVar, TypeVar, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard.net.piecewise_writer import PiecewiseWriter, writer_for
from pyshard.net.twisted_internals import begin_amp, below_tls, discard_unwritten, send_now
from pyshard.net.unfinished_box_timer import UnfinishedBoxTimer
from pyshard.protocol.boxes import Box, BoxBreach, BoxParser, Limits, TlsFound, serialize
from pyshard.settings import settings

#: Bytes that are read at a time: the most that the C library gives without mapping memory.
READ = 128 * 1024 - 64

_T = TypeVar("_T")

_BOXES, _BYTES = settings.BOXES_UNDER_WAY, settings.BYTES_UNDER_WAY
_AT_ONCE = 256 * 1024  # bytes of the largest box that is begun to be written in the turn in which it was made


class BoxStream(amp.AMP):
    """Boxes over one transport, both ways.

    A subclass says in `ampBoxReceived` what a box means, and calls `_begun` and `_ended` for one that is answered.

    :param clock: times unfinished boxes.
    :param limits: what one box may be.
    :cvar is_producer: whether the connection is registered as its transport's producer.
    :ivar id: names this connection in logs and `stat`; its maker may set it.
    :ivar answering: how many commands of the peer wait for their answer.
    :ivar under_way: how many bytes the boxes of these commands have, and those of their answers that are known of.
    :ivar heard: when anything was last heard from the peer, in the clock's seconds.
    """

    _log = Logger()
    id = "?"
    is_producer: ClassVar[bool] = False
    transport: ITCPTransport | None

    def __init__(self, clock: IReactorTime, limits: Limits | None = None) -> None:
        begin_amp(self)
        self._clock = clock
        self.heard = clock.seconds()
        self._parser = BoxParser(limits or Limits())
        self._broken = False
        self._broken_by = ""  # how the peer broke the protocol
        self._tls_found = False  # whether the peer speaks TLS on this connection, which is none of TLS
        self.answering = 0
        self.under_way = 0
        self._holding = False  # whether a box was begun
        self._unread_bytes = 0
        self._full = False  # whether so much is under way that nothing more is taken up
        self._unread = False  # whether the transport holds so much that the peer hasn't read
        self._reads = True  # whether the transport is to read
        self._drops = False  # whether all that is read is dropped
        self._waits = False  # whether it is others' turn to be served
        self._timer = UnfinishedBoxTimer(clock)
        self._sends_at_once = False
        self._pieces: PiecewiseWriter | None = None  # where the transport has TLS
        self._read_size = READ

    def box_bytes_held(self, size: int) -> None:
        """Called with the bytes of a box that was begun; 0: there is none any more. A subclass may override it."""

    def answer_bytes_held(self, size: int) -> None:
        """Called with the bytes that the peer hasn't read; 0: there are none any more. A subclass may override it."""

    def set_limits(self, limits: Limits) -> None:
        """Set other limits, from the next box on."""
        self._parser.limits = limits

    def close(self) -> None:
        """End the connection when what is to be written has been."""
        self._sends_at_once = False  # from here on it is the reactor that writes, and closes behind the last byte
        if self._pieces is not None and self._pieces.waits:
            self._pieces.end_with(self._lose)
        else:
            self._lose()

    def abort(self) -> None:
        """End the connection now, whatever is still to be written."""
        self._sends_at_once = False
        self._timer.stop()
        if self._pieces is not None:
            self._pieces.discard()
        if self.transport is not None:
            self.transport.abortConnection()

    # ------------------------------------------------------------------ what Twisted calls

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the peer doesn't read what is sent to it. Nothing is read from it, nor parsed on."""
        self._unread = True
        if self._pieces is not None:
            self._pieces.pauseProducing()
        self._stop_reading()

    def resumeProducing(self) -> None:
        """See `IPushProducer`: the peer has read what was sent to it."""
        if self._pieces is not None:
            self._pieces.resumeProducing()
            if self._pieces.full:  # more was to be sent
                return
        self.heard = self._clock.seconds()
        self._unread = False
        if self._unread_bytes:
            self._unread_bytes = 0
            self.answer_bytes_held(0)
        self._resume()

    def makeConnection(self, transport: ITransport) -> None:
        """Like `connectionLost` it passes by AMP's own: that logs each connection."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """Send small boxes at once, and let the system notice peers that are gone."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        transport: object = self.transport
        if isinstance(transport, FileDescriptor):
            self._sends_at_once = True
        self._pieces = writer_for(transport, self.is_producer)
        self.read_at_a_time(self._read_size)

    def read_at_a_time(self, size: int) -> None:
        """Have the transport read at most so many bytes at a time, where it lets itself be told."""
        self._read_size = size
        transport = below_tls(self.transport)
        if isinstance(transport, FileDescriptor):
            transport.bufferSize = size

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._sends_at_once = False
        self._timer.stop()
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        # Nobody counts its bytes any more. They go now, for Python may be long in collecting the connection itself.
        self._parser = BoxParser(self._parser.limits)
        transport = below_tls(self.transport)
        if isinstance(transport, FileDescriptor):
            discard_unwritten(transport)
        self.transport = self._pieces = None

    def dataReceived(self, data: bytes) -> None:
        if self._broken:
            return
        self.heard = self._clock.seconds()
        parser = self._parser
        parser.feed(data)
        if self._waits:  # what has come may do until its turn
            self._stop_reading()
        else:
            try:
                self.serve_arrived()
            except BoxBreach as breach:
                self._tls_found = isinstance(breach, TlsFound)
                self._breach(str(breach))
        if parser.begun:
            self._holding = True
            self.box_bytes_held(parser.held)
            if self.paused:  # it is this side that waits
                self._timer.stop()
            elif not self._broken:
                self._timer.start(parser, self._breach)
        elif self._holding:
            self._holding = False
            self._timer.stop()
            self.box_bytes_held(0)

    def serve_arrived(self) -> None:
        """Serve what has come. A subclass may serve some of it now and the rest later."""
        while self.serve_next():
            pass

    def serve_next(self) -> bool:
        """Serve the next box, if it has all come, and nothing keeps it from being served.

        :return: whether there may be another one.
        :raises BoxBreach: as `BoxParser.next_box`.
        """
        if self.paused or (box := self._parser.next_box()) is None:
            return False
        self.ampBoxReceived(box)
        if self.answering >= _BOXES or self.under_way >= _BYTES:
            self._pause_reading()
        return self._parser.begun

    @property
    def ended(self) -> bool:
        """Whether the connection is lost."""
        return self.transport is None

    @property
    def has_unserved(self) -> bool:
        """Whether more has come, be it part of a box, and nothing keeps it from being served."""
        return not self.paused and self.transport is not None and self._parser.begun

    @property
    def unserved_bytes(self) -> int:
        """About how many bytes have come and weren't served, be they part of a box."""
        return self._parser.unserved

    def wait_for_turn(self) -> None:
        """Serve nothing until `take_turn`, and read at most once: it is others' turn.

        Most peers send nothing more before they have an answer. To stop reading, and begin again, would cost half as
        much as what they ask. A peer that ends the connection meanwhile hears no answer, and what waits isn't served.
        """
        self._waits = self.paused = True

    def wait_unread(self) -> None:
        """Serve nothing and read nothing at all until `take_turn`."""
        self._waits = True
        self._stop_reading()

    def take_turn(self) -> None:
        """Go on with what has come, and read on."""
        self._waits = False
        self._resume()

    def read_and_drop(self) -> None:
        """Serve nothing more, but read on for the peer's end."""
        self._broken = self._drops = True
        self._resume()

    def sendBox(self, box: amp.AmpBox) -> None:
        """See `IBoxSender`: what AMP's machinery answers and asks. AMP's own way leaves it all to the transport."""
        if self.transport is None:
            raise ConnectionLost
        self._send_bytes(box.serialize())

    def count_owed(self, answer: Deferred[_T], size: int) -> Deferred[_T]:
        """Count what an answer will have with what is under way, until it is there: few bytes may ask for many.

        :param size: its bytes, more or less.
        :return: the same Deferred.
        """
        self.under_way += size

        def counted(outcome: _T) -> _T:
            self.under_way -= size
            return outcome

        return answer.addBoth(counted)

    # ------------------------------------------------------------------ inside

    def _begun(self) -> int:
        """Count the box just parsed as waiting for its answer.

        :return: its size, to be given to `_ended`.
        """
        size = self._parser.size
        self.answering += 1
        self.under_way += size
        return size

    def _ended(self, size: int) -> None:
        """Count a box as answered."""
        self.answering -= 1
        self.under_way -= size
        if self._full and self.answering <= _BOXES / 2 and self.under_way <= _BYTES / 2:
            self._full = False
            self._resume()

    def _resume(self) -> None:
        """Go on with what has come, and read on, unless there is still a reason not to."""
        if self._drops and not self._waits:
            self._read_on()
        if self.transport is None or self._full or self._unread or self._waits or self._broken:
            return
        self.paused = False
        if self._parser.begun:
            self.dataReceived(b"")  # while nothing is read yet: what has come may do for this turn
        if not self.paused:
            self._read_on()

    def _read_on(self) -> None:
        if not self._reads and self.transport is not None:
            self._reads = True
            cast(IPushProducer, self.transport).resumeProducing()

    def _pause_reading(self) -> None:
        """Read nothing more until half of what waits has been answered."""
        self._full = True
        self._stop_reading()

    def _stop_reading(self) -> None:
        """Read nothing more, nor serve what was read."""
        self.paused = True
        if self._reads and self.transport is not None:
            self._reads = False
            cast(IPushProducer, self.transport).pauseProducing()

    def _send(self, box: Box) -> None:
        """Write a box."""
        self._send_bytes(serialize(box))

    def _send_bytes(self, data: bytes) -> None:
        """Write the bytes of a box; those of a small one at once, which spares it a turn of the reactor."""
        transport, pieces = self.transport, self._pieces
        assert transport is not None
        if pieces is not None and (pieces.waits or len(data) > _AT_ONCE):
            pieces.write(data)
        else:
            if self._sends_at_once and len(data) <= _AT_ONCE:
                data = send_now(transport, data)  # type: ignore[arg-type]  # `connectionMade` has seen that it is one
            if data:
                transport.write(data)
        if data and self._unread:
            self._unread_bytes += len(data)
            self.answer_bytes_held(self._unread_bytes)

    def _lose(self) -> None:
        """End the connection: all that is to be written was given to the transport."""
        if self.transport is not None:
            self.transport.loseConnection()

    def _breach(self, what: str) -> None:
        if not self._broken:
            self._broken, self._broken_by = True, what
            self.paused = True  # ends the loop over boxes
            self._log.warn(
                "connection {connection}: closed, the peer broke the protocol: {what}", connection=self.id, what=what
            )
            self.abort()
