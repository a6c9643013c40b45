"""A web site for which no peer takes more than a bounded part of the daemon.

Rules:

- A request has no body, and 16 KiB of headers at the most. Other ones are refused, and the connection is closed.
- A peer has so long to send a whole request, however slowly its bytes come, and to read an answer. Then its connection
  is ended at once, and what it hasn't read is dropped.
- A request that comes in many pieces is read ten times a second: to read a byte costs as much as to read all of it.
- A peer that doesn't read its answers gets no further ones, and nothing more is read from it.
- There are so many connections. A further one takes the place of the one that has waited longest, for its next request
  or for the answer to one; if all are being answered, it is closed. It takes no place of an address that has fewer. Of
  one that has more it takes one in any case. So one address keeps nobody out, such as who checks the daemon's health.
- So many requests a second are answered, fairly between addresses, in a fifth of the daemon's time at the most. Those
  beyond wait, each connection with one. Who leaves gives its turn back.
- A few connections are accepted in one turn of the reactor. Those of an address that connects again and again, and has
  no request answered, are closed at once (`pyshard.server.connection_attempts`).
- Nothing is logged of a request: its address may have a key in it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf
from operator import itemgetter
from typing import cast

from twisted.internet.interfaces import (
    IDelayedCall,
    IFileDescriptorReceiver,
    IListeningPort,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from pyshard.net.twisted_internals import below_tls, bound_accepts, unwrap_reads_and_writes, wrap_reads_and_writes
from pyshard.server.accepts_in_turn import AcceptsInTurn
from pyshard.server.connection_admission import origin_of
from pyshard.server.connection_attempts import ConnectionAttempts
from pyshard.server.fair_queue import FairGroups
from pyshard.settings import settings

_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_SHORT = 0.001  # seconds for which no request waits
_REST = 4  # times as long as an answer took, all else has the time before the next one
_ACCEPTED = 2  # connections in one turn of the reactor
_PIECES = 8  # times that something of a request is read as soon as it comes
_BETWEEN = 0.1  # seconds until more is read then
_KEPT = 16 * 1024  # bytes that may come during a request before the connection isn't read any more


@implementer(IFileDescriptorReceiver)
class BoundedChannel(HTTPChannel):
    """One connection.

    :ivar answering: whether a request is being answered. One that waits for its turn isn't.
    :ivar origin: what counts as the address that the peer comes from.
    :ivar came_to_something: whether a request over it was answered.
    """

    site: BoundedSite
    transport: ITCPTransport
    answering = False
    origin = ""
    came_to_something = False
    _refused = False
    _in_request = False  # whether there is a request whose answer isn't complete
    _kept = 0  # bytes that came meanwhile
    _pieces = 0  # how often was read since the last request
    _read_again: IDelayedCall | None = None
    _full = False  # whether the peer has more to read than the transport cares to keep
    _go_on: Callable[[], None] | None = None  # what is to be done when it has read that

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    @property
    def _network(self) -> IPushProducer:
        return cast(IPushProducer, self.transport)

    def when_read(self, go_on: Callable[[], None]) -> None:
        """Go on when the peer has read most of its last answers, for which its time is bounded."""
        if self._full:
            self._go_on = go_on
            self.setTimeout(settings.HTTP_REQUEST)
        else:
            go_on()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.origin = origin_of(self.transport.getPeer())
        wrap_reads_and_writes(self.transport, lambda read: partial(self._read, read), lambda write: write)
        self.site.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._go_on = None
        unwrap_reads_and_writes(self.transport)
        if self._read_again is not None:
            self._read_again.cancel()
        self.site.remove(self)
        super().connectionLost(reason)

    def _read(self, read: Callable[[], object]) -> object:
        """Read, and have the peer wait a little if it sends piece by piece."""
        self._pieces += 1
        if self._pieces > _PIECES and self._read_again is None:
            cast(IPushProducer, below_tls(self.transport)).pauseProducing()
            self._read_again = self.site.later(_BETWEEN, self._read_on)
        return read()

    def _read_on(self) -> None:
        self._read_again = None
        if not self._full and self._kept <= _KEPT:
            cast(IPushProducer, below_tls(self.transport)).resumeProducing()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See `IFileDescriptorReceiver`: a Unix socket brings a file that nobody wants, and Twisted would log."""
        os.close(descriptor)
        self.abort()

    def resetTimeout(self) -> None:
        """Do nothing: the time is for a whole request, not for each of its bytes."""

    def allHeadersReceived(self) -> None:
        if self.length != 0:  # None: it isn't known
            self._refused = True
            self.transport.write(_TOO_LARGE)
            self.loseConnection()
            return
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            self._kept += len(data)
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        self._in_request, self._kept, self._pieces = True, 0, 0
        super().allContentReceived()

    def requestDone(self, request: HTTPRequest) -> None:
        self.answering = self._in_request = False
        self.site.move_back(self)
        if not self.persistent:
            self.setTimeout(settings.HTTP_REQUEST)  # to read the answer; then it is closed
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """Read nothing more, since the peer doesn't read: `HTTPChannel` would read on during a request, without end."""
        self._full = True
        super().pauseProducing()
        self._network.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on, since the peer has read."""
        self._full = False
        super().resumeProducing()
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            self.setTimeout(None)
            go_on()
        if self._in_request and not self._full and self._kept <= _KEPT:
            self._network.resumeProducing()  # so that it is noticed when the peer leaves

    def timeoutConnection(self) -> None:
        """End the connection at once: to have it closed would wait for a peer that doesn't read. Nothing is logged."""
        self.abort()


class PacedRequest(Request):
    """A request that is answered when its peer has read the last answers, and the site has time for it."""

    def process(self) -> None:
        """Answer it, now or a little later."""
        channel = cast(BoundedChannel, self.channel)
        channel.when_read(lambda: channel.site.answer(channel, super(PacedRequest, self).process))

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header, but for the one that would tell which Twisted this is."""
        if name != b"Server":
            super().setHeader(name, value)


class BoundedSite(Site):
    """The site of one port.

    :param root: its pages.
    :param clock: the reactor.
    """

    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime) -> None:
        super().__init__(
            root,
            requestFactory=PacedRequest,
            timeout=settings.HTTP_REQUEST,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.protocol = BoundedChannel  # type: ignore[assignment]  # in place of one that may speak HTTP/2
        self._channels: dict[BoundedChannel, None] = {}  # those that have waited longest first
        self._places: Counter[str] = Counter()  # how many of them each address has
        self._waiting: dict[BoundedChannel, Callable[[], None]] = {}  # what answers their requests
        self._turns: FairGroups[BoundedChannel, str] = FairGroups(0)  # of those that wait
        self._clock = clock
        self._attempts = ConnectionAttempts()
        self._accepts = AcceptsInTurn(clock, self._admits)
        self._free_at = -inf  # up to when the pace is used up by the requests that were answered
        self._rests_until = -inf  # up to when all else has the time
        self._next: IDelayedCall | None = None  # when the first of those that wait is answered
        self._answers = False  # whether one is being answered just now

    def listens(self, port: IListeningPort) -> None:
        """Have a port on which the site listens accept few connections at a time."""
        bound_accepts(port, self._accept, self._accepts.may_connect)

    def add(self, channel: BoundedChannel) -> None:
        """Give a connection a place, if need be another one's; or end it."""
        if len(self._channels) >= settings.HTTP_CONNECTIONS:
            gives_way = self._gives_way_to(channel.origin)
            if gives_way is None:
                channel.abort()
                return
            self.remove(gives_way)
            gives_way.abort()
        self._channels[channel] = None
        self._places[channel.origin] += 1

    def remove(self, channel: BoundedChannel) -> None:
        """Forget a connection that is lost, and its request that waits."""
        self._waiting.pop(channel, None)
        self._turns.remove(channel, channel.origin)
        if channel in self._channels:
            del self._channels[channel]
            self._places[channel.origin] -= 1
            if not self._places[channel.origin]:
                del self._places[channel.origin]

    def _gives_way_to(self, origin: str) -> BoundedChannel | None:
        """Whose place a further connection gets; None: nobody's."""
        own = self._places[origin]
        heaviest, most = max(self._places.items(), key=itemgetter(1))
        if most > own + 1:
            its = [channel for channel in self._channels if channel.origin == heaviest]
            return next((channel for channel in its if not channel.answering), its[0])
        return next((one for one in self._channels if not one.answering and self._places[one.origin] >= own), None)

    def move_back(self, channel: BoundedChannel) -> None:
        """Note that a connection begins to wait for its next request."""
        if channel in self._channels:
            del self._channels[channel]
            self._channels[channel] = None

    def end_all(self) -> None:
        """End all connections."""
        for channel in list(self._channels):
            channel.abort()

    def answer(self, channel: BoundedChannel, process: Callable[[], None]) -> None:
        """Answer a connection's request when it is its turn.

        :param process: answers it.
        """
        self._waiting[channel] = process
        self._turns.add(channel, channel.origin)
        if self._next is None and not self._answers:  # else a peer's next request would be answered within its last one
            self._answer()

    def later(self, seconds: float, call: Callable[[], None]) -> IDelayedCall:
        """Call something later."""
        return self._clock.callLater(seconds, call)

    # ------------------------------------------------------------------ inside

    def _accept(self, accept: Callable[[int], None]) -> None:
        self._accepts.run(accept, _ACCEPTED)

    def _admits(self, origin: str) -> bool:
        now = self._clock.seconds()
        admitted = self._attempts.admits(origin, now, True)
        if admitted:
            self._attempts.add(origin, now)
        return admitted

    def _answer(self) -> None:
        """Answer requests that wait, as many as there is time for now, and have the others wait on."""
        self._next, self._answers = None, True
        try:
            self._next = self._answer_in_time()
        finally:
            self._answers = False

    def _answer_in_time(self) -> IDelayedCall | None:
        while self._waiting:
            now, pace = self._clock.seconds(), settings.HTTP_PACE
            free_at = max(self._free_at, now - settings.HTTP_BURST / pace) + 1 / pace
            wait = max(free_at, self._rests_until) - now
            if wait >= _SHORT:
                return self._clock.callLater(wait, self._answer)
            self._free_at = free_at
            channel = self._turns.take()
            assert channel is not None, "somebody waits"
            process = self._waiting.pop(channel)
            channel.answering = True
            if not channel.came_to_something:
                channel.came_to_something = True
                self._attempts.succeeded(channel.origin, now)
            process()
            ended = self._clock.seconds()
            self._rests_until = ended + _REST * max(0.0, ended - now)
        return None

    # ------------------------------------------------------------------ what Twisted calls

    def startFactory(self) -> None:
        """Do nothing: there is no access log."""

    def stopFactory(self) -> None:
        """Do nothing, as above."""

    def log(self, request: HTTPRequest) -> None:
        """Do nothing, as above."""

    def acceptableProtocols(self) -> list[bytes]:
        """See `IProtocolNegotiationFactory`."""
        return [b"http/1.1"]
