"""The pages that both daemons have: ``/metrics``, ``/healthz``, ``/readyz`` and ``/stat.json``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from twisted.web.server import Request

from pyshard.http.exposition import Exposition
from pyshard.http.page import Answer, Page, Root
from pyshard.http.token_guard import TokenGuard
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

    def metrics(request: Request) -> Answer:
        accept = request.requestHeaders.getRawHeaders(b"accept", [])
        body, content_type = exposition.text(b",".join(accept).decode("latin-1"))
        return Answer(body, content_type.encode("ascii"))

    root = Root()
    root.putChild(b"metrics", Page(metrics, guard))
    root.putChild(b"stat.json", Page(lambda _: Answer(msgspec.json.encode(daemon.stat()), _JSON), guard))
    root.putChild(b"healthz", Page(lambda _: _verdict(daemon.unhealthy)))
    root.putChild(b"readyz", Page(lambda _: _verdict(daemon.unready)))
    return root


def _verdict(why_not: Callable[[], str]) -> Answer:
    why = why_not()
    return Answer(f"{why}\n".encode(), code=503) if why else Answer(b"ok\n")
