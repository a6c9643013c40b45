"""A page that is made anew each time it is asked for, for everybody or for whoever has a token."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.web.resource import Resource
from twisted.web.server import Request

from pyshard.http.token_guard import TokenGuard

TEXT = b"text/plain; charset=utf-8"


@attrs.frozen
class WebAnswer:
    """What a page answers.

    :param code: of HTTP.
    """

    body: bytes
    content_type: bytes = TEXT
    code: int = 200


NOT_FOUND = WebAnswer(b"there is no such page; expected /metrics, /healthz, /readyz or /stat.json\n", code=404)
NO_TOKEN = WebAnswer(b"this wants a token of this daemon: Authorization: Bearer TOKEN\n", code=401)


class WebPage(Resource):
    """A page.

    :param make: makes its answer.
    :param guard: tells who has a token; None: anybody may look at it.
    """

    isLeaf = True

    def __init__(self, make: Callable[[Request], WebAnswer], guard: TokenGuard | None = None) -> None:
        super().__init__()
        self._make = make
        self._guard = guard

    def render_GET(self, request: Request) -> bytes:
        """The page."""
        if request.postpath:
            return send(request, NOT_FOUND)
        if self._guard is not None and self._guard.role_of(request) is None:
            request.setHeader(b"WWW-Authenticate", b"Bearer")
            return send(request, NO_TOKEN)
        return send(request, self._make(request))

    def render_HEAD(self, request: Request) -> bytes:
        """The page's headers."""
        request.setHeader(b"Content-Length", b"%d" % len(self.render_GET(request)))
        return b""


class Root(Resource):
    """The pages of a site; `putChild` adds one. Any other one isn't found."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """See `Resource`."""
        return WebPage(lambda _: NOT_FOUND)

    def render_GET(self, request: Request) -> bytes:
        """What is there without a path."""
        return send(request, NOT_FOUND)


def send(request: Request, answer: WebAnswer) -> bytes:
    """Set the headers of an answer, and give its body."""
    request.setResponseCode(answer.code)
    request.setHeader(b"Content-Type", answer.content_type)
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return answer.body
