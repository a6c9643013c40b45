"""A daemon's HTTP port as a Twisted service."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.web_page import Root


class HttpListener(Service):
    """Listens while it runs.

    :param clock: the reactor.
    :param endpoint: where to listen.
    :param root: the pages.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, endpoint: IStreamServerEndpoint, root: Root) -> None:
        self._endpoint = endpoint
        self._site = BoundedSite(root, clock)
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Listen.

        :raises Exception: whatever the endpoint fails with at once, so that the daemon doesn't start.
        """
        super().privilegedStartService()
        failures: list[Failure] = []
        self._endpoint.listen(self._site).addCallbacks(self._listening, failures.append)
        if failures:
            failures[0].raiseException()

    def startService(self) -> None:
        if not self.running and self._port is None:
            self.privilegedStartService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close the port, and end all connections."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        self._site.end_all()

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self._site.listens(port)
        self._log.info("metrics and health by HTTP on {address}", address=port.getHost())
