"""A page whose answer takes a while: it is sent when a Deferred fires."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request

from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import WebAnswer, WebPage, send

FAILED = WebAnswer(b"this failed unexpectedly; the daemon's log says why\n", code=500)


class DeferredPage(WebPage):
    """A page for GET. To HEAD it answers without looking anything up.

    :param begin: begins to make its answer. What it does goes on when the peer has left.
    :param guard: as for `WebPage`.
    """

    _log = Logger()

    def __init__(
        self, begin: Callable[[Request], Deferred[WebAnswer]], guard: TokenGuard | None, content_type: bytes
    ) -> None:
        super().__init__(lambda _: WebAnswer(b"", content_type), guard)
        self._begin = begin

    def render(self, request: Request) -> bytes | int:
        """See `Resource`."""
        if request.method != b"GET" or self.refusal(request) is not None:
            return super().render(request)
        left: list[object] = []
        request.notifyFinish().addErrback(left.append)

        def answered(answer: WebAnswer | Failure) -> None:
            if isinstance(answer, Failure):
                self._log.failure("a page failed", answer)
                answer = FAILED
            if not left:
                body = send(request, answer)
                request.setHeader(b"Content-Length", b"%d" % len(body))
                request.write(body)
                request.finish()

        self._begin(request).addBoth(answered)
        return NOT_DONE_YET
