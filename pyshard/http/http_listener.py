"""A daemon's HTTP port as a Twisted service."""

from __future__ import annotations

from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.web_page import Root
from pyshard.server.listening_service import ListeningService


class HttpListener(ListeningService):
    """Listens while it runs, and ends all connections when it stops.

    :param clock: the reactor.
    :param endpoint: where to listen.
    :param root: the pages.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, endpoint: IStreamServerEndpoint, root: Root) -> None:
        self._site = BoundedSite(root, clock)
        super().__init__(endpoint, self._site)

    async def _stop(self) -> None:
        await super()._stop()
        self._site.end_all()

    def _listening(self, port: IListeningPort) -> None:
        super()._listening(port)
        self._site.listens(port)
        self._log.info("metrics and health by HTTP on {address}", address=port.getHost())
