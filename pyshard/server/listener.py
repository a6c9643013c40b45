"""How a daemon listens, looks after its connections, and drains when it stops.

Rules kept here: a stopping daemon accepts nobody, answers what it was asked before, refuses what comes after
(`ShuttingDown`), asks its peers to close (`GoAway`), and then closes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.server.connection import CLOSE
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.steps import Steps

_LOOK = 0.02  # seconds between looks at the answers that a stopping daemon owes
_LEAVE = 0.5  # seconds that a peer may take to close when it was asked to and has its answers


class Listener(Service):
    """Listens with a factory while it runs; drains when it stops.

    :param clock: times the draining.
    :param endpoint: where to listen.
    :param drain: seconds to wait for answers that are owed.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        factory: ServerFactory,
        drain: float = settings.DRAIN,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._factory = factory
        self._drain = drain
        self._port: IListeningPort | None = None
        self._next_look: IDelayedCall | None = None

    def privilegedStartService(self) -> None:
        """Listen.

        :raises Exception: whatever the endpoint fails with at once, such as CannotListenError, so that the daemon
            doesn't start.
        """
        super().privilegedStartService()
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        if failures:
            failures[0].raiseException()

    def startService(self) -> None:
        if not self.running and self._port is None:
            self.privilegedStartService()
        super().startService()
        self._look_later()

    def _look_later(self) -> None:
        self._next_look = self._clock.callLater(settings.IDLE_LOOK, self._look)

    def _look(self) -> None:
        for one in list(self._factory.connections):
            one.look()
        self._look_later()

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        self._log.info("listening on {address}", address=port.getHost())
        if self._factory.tokens is None:
            self._log.info("there is no token file: whoever can connect may do everything")

    @inlineCallbacks
    def stopService(self) -> Steps[None]:
        yield maybeDeferred(super().stopService)
        look, self._next_look = self._next_look, None
        if look is not None:
            look.cancel()
        factory, port = self._factory, self._port
        factory.draining, self._port = True, None
        if port is not None:
            yield maybeDeferred(port.stopListening)
        for one in list(factory.connections):
            one.ask_to_leave()
        yield self._until(lambda: not any(one.owes for one in factory.connections), self._drain)
        yield self._until(lambda: all(one.stays for one in factory.connections), _LEAVE)
        for one in [*factory.connections, *factory.refused]:
            one.hang_up()
        yield self._until(lambda: not (factory.connections or factory.refused), CLOSE)
        for one in [*factory.connections, *factory.refused]:
            one.abort()
        factory.draining = False

    @inlineCallbacks
    def _until(self, holds: Callable[[], bool], seconds: float) -> Steps[None]:
        end = self._clock.seconds() + seconds
        while not holds() and self._clock.seconds() < end:
            yield deferLater(self._clock, _LOOK)
