"""The option ``--http`` of both daemons: where metrics and health are told, checked before twistd daemonizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime

from pyshard.errors import ConfigError
from pyshard.server.listen_address import check_reach, listening, reached_at, server_endpoint

if TYPE_CHECKING:
    from pyshard.http.daemon_site import ReportedDaemon
    from pyshard.http.token_guard import TokenGuard
    from pyshard.http.web_page import Root

#: The option of both daemons.
HTTP_OPTION: list[object] = [
    "http",
    None,
    None,
    "HOST:PORT, or a Twisted server endpoint string, on which metrics and health are told by HTTP; see "
    'the documentation, "Monitoring" [default: nowhere].',
]


def http_endpoint(options: Mapping[str, Any]) -> str | None:
    """The Twisted server endpoint string that the option gives.

    :param options: of the command line; ``listen`` is known.
    :raises ConfigError: nothing can listen there; it is where the daemon itself listens; or what makes metrics isn't
        installed.
    """
    given = options["http"]
    if given is None:
        return None
    if find_spec("prometheus_client") is None:
        raise ConfigError("--http: prometheus_client isn't installed; expected pip install 'pyshard[metrics]' before")
    where = listening(given, "--http")
    if (place := reached_at(where)) is not None and place == reached_at(options["listen"]):
        raise ConfigError(f"--http: found {given!r}, where the daemon itself listens; expected another port")
    return where


def add_http(
    daemon: ReportedDaemon,
    service: MultiService,
    reactor: IReactorTime,
    options: Mapping[str, Any],
    add_pages: Callable[[Root, TokenGuard], None] = lambda *_: None,
) -> None:
    """Have a daemon's service listen by HTTP, too. What that needs is imported here, and not where nobody asks for it.

    :param daemon: what is told of.
    :param service: gets the port as a child.
    :param options: checked ones, with ``http``, ``tokens`` and ``insecure``.
    :param add_pages: puts more pages beside those that each daemon has.
    :raises ConfigError: it is no endpoint string, or others could look at figures without a token.
    """
    where: str | None = options["http"]
    if where is None:
        return
    endpoint, tokens = server_endpoint(reactor, where, "--http"), options["tokens"]
    try:
        check_reach(where, bool(tokens or options["insecure"]), by_tls=False)
    except ConfigError as error:
        raise ConfigError(f"--http: {error}") from None
    from pyshard.http.daemon_site import daemon_root
    from pyshard.http.http_listener import HttpListener
    from pyshard.http.token_guard import TokenGuard

    guard = TokenGuard(tokens.current if tokens else None)
    root = daemon_root(daemon, guard)
    add_pages(root, guard)
    HttpListener(reactor, endpoint, root).setServiceParent(service)
