"""A page that goes on for ever: server-sent events to whoever has it open, each the same for all.

Rules:

- There are so many streams; a further one is refused. But if an address has more of them than its own, the oldest of
  those is ended for it.
- A peer that reads slowly misses events, and never gets old ones: no more than one waits for it, beside what the system
  and the transport hold. One that reads nothing for some time is cut off.
- A stream ends when its token is valid no more.
- The streams themselves have no timer: nothing happens here while nobody sends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import cast

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from pyshard.http.bounded_site import BoundedChannel
from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import WebAnswer, WebPage, send
from pyshard.server.connection_admission import origin_of
from pyshard.settings import settings

EVENT_STREAM = b"text/event-stream; charset=utf-8"
TOO_MANY = WebAnswer(b"too many of these pages are open; close one, or wait until one is closed\n", code=503)


@implementer(IPushProducer)
class EventStream:
    """One stream.

    :param request: what it answers.
    """

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._full_since: float | None = None
        self._over = False
        request.write(send(request, WebAnswer(b"", EVENT_STREAM)))
        request.registerProducer(self, True)

    @property
    def request(self) -> Request:
        """What it answers."""
        return self._request

    def send(self, event: bytes) -> None:
        """Send an event, unless the peer hasn't read the last ones; cut it off if it hasn't for long."""
        if self._over:
            return
        if self._full_since is None:
            self._request.write(event)
        elif self._clock.seconds() - self._full_since >= settings.HTTP_STREAM_STALLED:
            self._over = True
            cast(BoundedChannel, self._request.channel).abort()

    def finish(self) -> None:
        """End it in an orderly way."""
        if not self._over:
            self._over = True
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """See `IPushProducer`: the peer doesn't read."""
        if self._full_since is None:
            self._full_since = self._clock.seconds()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._full_since = None

    def stopProducing(self) -> None:
        """See `IPushProducer`: the peer is gone."""
        self._over = True


class EventStreams(WebPage):
    """The page, and its open streams.

    :param clock: the reactor.
    :param guard: tells who may see it.
    :param opened: is called when a stream was opened, and gives the event that it begins with.
    """

    def __init__(self, clock: IReactorTime, guard: TokenGuard, opened: Callable[[], bytes]) -> None:
        super().__init__(lambda _: WebAnswer(b"", EVENT_STREAM), guard)
        self._clock = clock
        self._role_of = guard.role_of
        self._opened = opened
        self._streams: dict[EventStream, None] = {}

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def render(self, request: Request) -> bytes | int:
        """See `Resource`."""
        if request.method != b"GET" or self.refusal(request) is not None:
            return super().render(request)
        if len(self._streams) >= settings.HTTP_STREAMS:
            gives_way = self._gives_way_to(origin_of(request.client))
            if gives_way is None:
                return send(request, TOO_MANY)
            gives_way.finish()
        stream = EventStream(request, self._clock)
        self._streams[stream] = None
        request.notifyFinish().addBoth(lambda _: self._streams.pop(stream, None))
        stream.send(self._opened())
        return NOT_DONE_YET

    def _gives_way_to(self, origin: str) -> EventStream | None:
        """Whose place a further stream gets; None: nobody's."""
        places = Counter(map(_origin, self._streams))
        heaviest, most = max(places.items(), key=itemgetter(1))
        if most <= places[origin] + 1:
            return None
        return next(stream for stream in self._streams if _origin(stream) == heaviest)

    def send(self, event: bytes) -> None:
        """Send an event to all of them."""
        for stream in list(self._streams):
            if self._role_of(stream.request) is None:
                stream.finish()
            else:
                stream.send(event)


def _origin(stream: EventStream) -> str:
    return origin_of(stream.request.client)


def event_of(data: bytes) -> bytes:
    """An event with one line of data."""
    return b"data: %s\n\n" % data
