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
NOT_ALLOWED = WebAnswer(b"nothing can be changed here; expected GET or HEAD\n", code=405)
NO_TOKEN = WebAnswer(b"this wants a token of this daemon: Authorization: Bearer TOKEN\n", code=401)


class ReadOnlyPage(Resource):
    """A page that can be looked at, and nothing else. A subclass says in `body` what it has."""

    def body(self, request: Request) -> bytes:
        """Set code and headers, and give the body."""
        raise NotImplementedError

    def render(self, request: Request) -> bytes | int:
        """See `Resource`."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return send(request, NOT_ALLOWED)
        body = self.body(request)
        if request.method == b"GET":
            return body
        request.setHeader(b"Content-Length", b"%d" % len(body))
        return b""


class WebPage(ReadOnlyPage):
    """A page.

    :param make: makes its answer.
    :param guard: tells who has a token; None: anybody may look at it.
    """

    isLeaf = True

    def __init__(self, make: Callable[[Request], WebAnswer], guard: TokenGuard | None = None) -> None:
        super().__init__()
        self._make = make
        self._guard = guard

    def body(self, request: Request) -> bytes:
        """See `ReadOnlyPage`."""
        return send(request, self.refusal(request) or self._make(request))

    def refusal(self, request: Request) -> WebAnswer | None:
        """Why it isn't for who asks; None: it is."""
        if request.postpath:
            return NOT_FOUND
        if self._guard is not None and self._guard.role_of(request) is None:
            request.setHeader(b"WWW-Authenticate", b"Bearer")
            return NO_TOKEN
        return None


class Root(ReadOnlyPage):
    """The pages of a site; `putChild` adds one. Any other one isn't found."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """See `Resource`."""
        return WebPage(lambda _: NOT_FOUND)

    def body(self, request: Request) -> bytes:
        """See `ReadOnlyPage`: there is nothing without a path, unless a page is put there."""
        return send(request, NOT_FOUND)


def send(request: Request, answer: WebAnswer) -> bytes:
    """Set the headers of an answer, and give its body."""
    request.setResponseCode(answer.code)
    request.setHeader(b"Content-Type", answer.content_type)
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return answer.body
