"""The pages that both daemons have: ``/metrics``, ``/healthz``, ``/readyz`` and ``/stat.json``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from twisted.web.server import Request

from pyshard.http.exposition import Exposition
from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import Root, WebAnswer, WebPage
from pyshard.metrics.family import Family

_JSON = b"application/json"


class ReportedDaemon(Protocol):
    """A daemon that tells of itself.

    :ivar families: its metrics.
    """

    @property
    def families(self) -> tuple[Family, ...]: ...

    def stat(self) -> dict[str, object]:
        """What `stat` gives, and what metrics are read out of."""
        ...

    def unhealthy(self) -> str:
        """What is wrong with it, in a few words; empty: nothing."""
        ...

    def unready(self) -> str:
        """Why it serves nobody, in a few words; empty: it serves."""
        ...


def daemon_root(daemon: ReportedDaemon, guard: TokenGuard) -> Root:
    """The pages of a daemon. More may be put beside them.

    :param guard: tells who may see figures.
    """
    exposition = Exposition(daemon.families, daemon.stat)

    def metrics(request: Request) -> WebAnswer:
        accept = request.requestHeaders.getRawHeaders(b"accept", [])
        body, content_type = exposition.text(b",".join(accept).decode("latin-1"))
        return WebAnswer(body, content_type.encode("ascii"))

    root = Root()
    root.putChild(b"metrics", WebPage(metrics, guard))
    root.putChild(b"stat.json", WebPage(lambda _: WebAnswer(msgspec.json.encode(daemon.stat()), _JSON), guard))
    root.putChild(b"healthz", WebPage(lambda _: _verdict(daemon.unhealthy)))
    root.putChild(b"readyz", WebPage(lambda _: _verdict(daemon.unready)))
    return root


def _verdict(why_not: Callable[[], str]) -> WebAnswer:
    why = why_not()
    return WebAnswer(f"{why}\n".encode(), code=503) if why else WebAnswer(b"ok\n")
