"""The listener: a daemon's port while it runs, the checks of idle connections, and the drain when it stops.

Rules for a daemon that stops:

- It accepts nobody, and answers what it was asked before. What comes after is refused (`ShuttingDown`).
- It asks its peers to close (`GoAway`), waits for them a bounded time, and then closes.
- What waits and hasn't begun after that time is refused, too, so that the end doesn't wait for all that was asked.

While it runs it accepts a few connections in each turn of the reactor. So those that come by hundreds wait in the
system's queue, and those that are there are served meanwhile. Those that are closed at once don't count among the few.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pyshard.net.twisted_internals import bound_accepts
from pyshard.server.connection import CLOSE
from pyshard.server.factory import ServerFactory
from pyshard.server.listening_service import ListeningService
from pyshard.settings import settings

_POLL = 0.02  # seconds between looks at the answers that a draining daemon owes
_CLOSE_BY_PEER = 0.5  # seconds that a peer may take to close when it was asked to and has its answers


class Listener(ListeningService):
    """Listens with a factory while it runs; drains when it stops.

    :param clock: times the draining.
    :param endpoint: where to listen.
    :param drain: seconds to wait for answers that are owed.
    :param refuse_waiting: refuses what waits and hasn't begun; called when these seconds are over, while peers can
        still hear it.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        factory: ServerFactory,
        drain: float = settings.DRAIN,
        refuse_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(endpoint, factory)
        self._clock = clock
        self._factory = factory
        self._drain = drain
        self._refuse_waiting = refuse_waiting
        self._awaited: list[Deferred[None]] = []  # fire when it listens
        self._next_check: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._schedule_check()

    def when_listening(self) -> Deferred[None]:
        """A Deferred that fires when it listens, or at once if it does."""
        if self._port is not None:
            return succeed(None)
        awaited: Deferred[None] = Deferred()
        self._awaited.append(awaited)
        return awaited

    def _schedule_check(self) -> None:
        self._next_check = self._clock.callLater(settings.IDLE_LOOK, self._check_idle)

    def _check_idle(self) -> None:
        for connection in list(self._factory.connections):
            connection.check_idle()
        self._schedule_check()

    def _listening(self, port: IListeningPort) -> None:
        super()._listening(port)
        factory = self._factory
        bound_accepts(port, factory.accept_in_turn, factory.may_connect)
        self._log.info("listening on {address}", address=port.getHost())
        if self._factory.tokens is None:
            self._log.info("there is no token file: whoever can connect may do everything")
        awaited, self._awaited = self._awaited, []
        for each in awaited:
            each.callback(None)

    async def _stop(self) -> None:
        call, self._next_check = self._next_check, None
        if call is not None:
            call.cancel()
        factory = self._factory
        factory.draining = True
        await super()._stop()
        for connection in list(factory.connections):
            connection.send_go_away()
        await self._wait_until(
            lambda: not any(connection.has_unanswered for connection in factory.connections), self._drain
        )
        self._refuse_waiting()
        await self._wait_until(
            lambda: all(connection.ignores_go_away for connection in factory.connections), _CLOSE_BY_PEER
        )
        for connection in [*factory.connections, *factory.refused]:
            connection.half_close()
        for handshake in factory.handshakes.all():
            handshake.end_handshake("this daemon is shutting down")
        await self._wait_until(lambda: not (factory.connections or factory.refused or factory.handshakes), CLOSE)
        for connection in [*factory.connections, *factory.refused]:
            connection.abort()
        factory.draining = False

    async def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds, or so many seconds have passed."""
        end = self._clock.seconds() + seconds
        while not condition() and self._clock.seconds() < end:
            await deferLater(self._clock, _POLL)
