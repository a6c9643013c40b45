"""A web site for which no peer takes more than a bounded part of the daemon.

Rules:

- A request has no body, and 16 KiB of headers at the most. Other ones are refused, and the connection is closed.
- A peer has so long to send a whole request, however slowly its bytes come, and to read an answer.
- There are so many connections. A further one takes the place of the one that has waited longest for its next request;
  if all are being answered, it is closed.
- So many requests a second are answered. Those beyond wait, each connection with one.
- A few connections are accepted in one turn of the reactor.
- Nothing is logged of a request: its address may have a key in it.
"""

from __future__ import annotations

from math import inf
from typing import cast

from twisted.internet.interfaces import IListeningPort, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from pyshard.net.twisted_internals import bound_accepts
from pyshard.settings import settings

_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_SHORT = 0.001  # seconds for which no request waits
_ACCEPTED = 2  # connections in one turn of the reactor


class BoundedChannel(HTTPChannel):
    """One connection.

    :ivar answering: whether a request is being answered.
    """

    site: BoundedSite
    transport: ITCPTransport
    answering = False
    abortTimeout = 5
    _refused = False

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.remove(self)
        super().connectionLost(reason)

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
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        self.answering = True
        super().allContentReceived()

    def requestDone(self, request: HTTPRequest) -> None:
        self.answering = False
        self.site.move_back(self)
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Close, as `HTTPChannel` does, but without a line in the log for each peer."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        self._abortingCall = None
        self.abort()


class PacedRequest(Request):
    """A request that is answered when the site has time for it."""

    def process(self) -> None:
        """Answer it, now or a little later."""
        site = cast(BoundedChannel, self.channel).site
        wait = site.wait_for_turn()
        if wait < _SHORT:
            super().process()
            return
        later = site.clock.callLater(wait, super().process)
        self.notifyFinish().addErrback(lambda _: later.cancel() if later.active() else None)

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header, but for the one that would tell which Twisted this is."""
        if name != b"Server":
            super().setHeader(name, value)


class BoundedSite(Site):
    """The site of one port.

    :param root: its pages.
    :param clock: the reactor.
    :ivar clock: the same.
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
        self.clock = clock
        self._free_at = -inf  # when the next request may be answered, were none to be let through before

    def listens(self, port: IListeningPort) -> None:
        """Have a port on which the site listens accept few connections at a time."""
        bound_accepts(port, lambda accept: accept(_ACCEPTED), lambda _: True)

    def add(self, channel: BoundedChannel) -> None:
        """Give a connection a place, if need be another one's; or end it."""
        if len(self._channels) >= settings.HTTP_CONNECTIONS:
            waiting = next((channel for channel in self._channels if not channel.answering), None)
            if waiting is None:
                channel.abort()
                return
            del self._channels[waiting]
            waiting.abort()
        self._channels[channel] = None

    def remove(self, channel: BoundedChannel) -> None:
        """Forget a connection that is lost."""
        self._channels.pop(channel, None)

    def move_back(self, channel: BoundedChannel) -> None:
        """Note that a connection begins to wait for its next request."""
        if channel in self._channels:
            del self._channels[channel]
            self._channels[channel] = None

    def end_all(self) -> None:
        """End all connections."""
        for channel in list(self._channels):
            channel.abort()

    def wait_for_turn(self) -> float:
        """Seconds that a request is to wait; below 0: none, and there is time to spare."""
        now, pace = self.clock.seconds(), settings.HTTP_PACE
        self._free_at = max(self._free_at, now - settings.HTTP_BURST / pace) + 1 / pace
        return self._free_at - now

    def startFactory(self) -> None:
        """Do nothing: there is no access log."""

    def stopFactory(self) -> None:
        """Do nothing, as above."""

    def log(self, request: HTTPRequest) -> None:
        """Do nothing, as above."""

    def acceptableProtocols(self) -> list[bytes]:
        """See `IProtocolNegotiationFactory`."""
        return [b"http/1.1"]
