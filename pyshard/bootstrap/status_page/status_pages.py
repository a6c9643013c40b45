"""The pages at ``/`` of the bootstrap's HTTP port, beside those that every daemon has.

Rules:

- The page, its script and its style are files of the package, for everybody. They have nothing in them.
- Nothing is loaded from elsewhere, and no script runs but that file: the Content-Security-Policy says so.
- A key that is looked up comes in a header: addresses end up in logs of proxies.
- Without tokens, documents are for pages that were opened by an IP address or ``localhost``. Else any page of the web
  could have its own name lead here, and read documents through the browser of whoever can connect.
"""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from ipaddress import ip_address
from typing import cast
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.server import Request

from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.status_page.cluster_watch import ClusterWatch
from pyshard.bootstrap.status_page.key_look_up import look_up, owner_of
from pyshard.bootstrap.status_page.look_up_turns import LookUp, LookUpTurns, seconds_for
from pyshard.errors import Overloaded, PyshardError, Unavailable
from pyshard.http.deferred_page import DeferredPage
from pyshard.http.event_streams import EventStreams, event_of
from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import Root, WebAnswer, WebPage
from pyshard.server.connection_admission import origin_of

JSON = b"application/json"

#: Path → file and type.
FILES = {
    b"": ("page.html", b"text/html; charset=utf-8"),
    b"page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"page.css": ("page.css", b"text/css; charset=utf-8"),
    b"icon.svg": ("icon.svg", b"image/svg+xml"),
}

HEADERS = {
    b"Content-Security-Policy": b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"object-src 'none'",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
}

_REBOUND = (
    "documents aren't shown here: without tokens, open this page by its IP address or as localhost, and not by a name; "
    "or start the bootstrap with --token-file"
)


def add_status_pages(root: Root, guard: TokenGuard, service: BootstrapService, clock: IReactorTime) -> None:
    """Put the web page beside a bootstrap's other pages.

    :param guard: tells who may see figures, and documents.
    :param clock: the reactor.
    """
    folder = files("pyshard.bootstrap.status_page") / "assets"
    for path, (name, kind) in FILES.items():
        root.putChild(path, WebPage(partial(_file, WebAnswer((folder / name).read_bytes(), kind))))

    def ask(name: str) -> Deferred[bytes]:
        shard = service.reconcilers.named(name)
        return fail(Unavailable("it has left the cluster")) if shard is None else shard.ask_statistics()

    streams = EventStreams(clock, guard, lambda: event_of(watch.begin()))
    watch = ClusterWatch(
        service.bootstrap,
        clock,
        ask,
        service.driver.listed,
        service.groups.reports,
        lambda shown: streams.send(event_of(shown)),
        lambda: len(streams) > 0,
    )
    root.putChild(b"events", streams)

    turns = LookUpTurns(clock)
    root.putChild(b"look-up", DeferredPage(partial(_begin_look_up, service, guard, turns), guard, JSON))


def _file(answer: WebAnswer, request: Request) -> WebAnswer:
    for name, value in HEADERS.items():
        request.setHeader(name, value)
    return answer


def _begin_look_up(
    service: BootstrapService, guard: TokenGuard, turns: LookUpTurns, request: Request
) -> Deferred[WebAnswer]:
    """Where the key of the headers ``Look-Up-Key`` and ``Look-Up-Index`` lies; both have percent-encoded UTF-8."""
    if not guard.wants_token and not opened_by_address(request.getHeader(b"host")):
        return succeed(_answer({"error": _REBOUND}, 403))
    try:
        key, index = (unquote(request.getHeader(name) or b"", errors="strict") for name in _LOOK_UP_HEADERS)
        shard = owner_of(service.bootstrap, index, key)
    except UnicodeDecodeError:
        return succeed(_answer({"error": "the key: expected percent-encoded UTF-8"}, 400))
    except PyshardError as error:
        return succeed(_answer({"error": str(error)}, 400))

    async def looked_up() -> WebAnswer:
        try:
            found = await look_up(service.bootstrap, service.reconcilers.named, index, key)
        except PyshardError as error:  # the index was dropped meanwhile
            return _answer({"error": str(error)}, 400)
        turns.rest(seconds_for(cast("int", found.get("bytes", 0))))
        return _answer(found)

    def refused(failure: Failure) -> WebAnswer:
        failure.trap(Overloaded)
        return _answer({"error": failure.getErrorMessage()}, 503)

    asked = LookUp(origin_of(request.client), shard.name, lambda: Deferred.fromCoroutine(looked_up()))
    request.notifyFinish().addErrback(lambda _: turns.leave(asked))
    turns.add(asked)
    return asked.answer.addErrback(refused)


_LOOK_UP_HEADERS = (b"look-up-key", b"look-up-index")


def opened_by_address(host: bytes | None) -> bool:
    """Whether a page was opened by an IP address, or as ``localhost``, given the header ``Host``. Pure."""
    name = (host or b"").decode("latin-1").lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _answer(value: dict[str, object], code: int = 200) -> WebAnswer:
    return WebAnswer(msgspec.json.encode(value), JSON, code)
