"""A Twisted service that listens while it runs, whatever it serves.

Rules:

- It listens once: when the daemon still has its privileges, or else when it is started.
- An endpoint that fails at once keeps the daemon from starting.
- It has stopped when the port is closed.
"""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure


class ListeningService(Service):
    """Listens while it runs. A subclass says what happens besides.

    :param endpoint: where to listen.
    :param served: makes what serves a connection.
    """

    def __init__(self, endpoint: IStreamServerEndpoint, served: IProtocolFactory) -> None:
        self._endpoint = endpoint
        self._served = served
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Listen.

        :raises Exception: whatever the endpoint fails with at once, such as CannotListenError, so that the daemon
            doesn't start.
        """
        super().privilegedStartService()
        failures: list[Failure] = []
        self._endpoint.listen(self._served).addCallbacks(self._listening, failures.append)
        if failures:
            failures[0].raiseException()

    def startService(self) -> None:
        if not self.running and self._port is None:
            self.privilegedStartService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close the port, and what a subclass has to end."""
        return Deferred.fromCoroutine(self._stop())

    # ------------------------------------------------------------------ what a subclass extends

    def _listening(self, port: IListeningPort) -> None:
        """Called when it listens."""
        self._port = port

    async def _stop(self) -> None:
        """Close the port."""
        await maybeDeferred(super().stopService)
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
