"""The bootstrap's eye on one shard: find it, judge it, configure it, and go on watching."""

from __future__ import annotations

from random import Random

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, judge
from pyshard.errors import ForeignCluster, PyshardError, StaleEpoch, WrongIdentity
from pyshard.model import cluster_state
from pyshard.net.dialer import Dialer
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.outgoing_connection import Greeting, OutgoingConnection
from pyshard.protocol import commands
from pyshard.settings import settings
from pyshard.steps import Steps

_REFUSALS = (ForeignCluster, WrongIdentity, StaleEpoch)


class ShardWatch(Service):
    """Keeps one shard configured while it runs.

    :param bootstrap: whose state the shard gets.
    :param name: the shard's name in the map.
    :param endpoint: where the shard is.
    """

    _log = Logger()

    def __init__(
        self, bootstrap: Bootstrap, name: str, clock: IReactorTime, endpoint: IStreamClientEndpoint, random: Random
    ) -> None:
        self._bootstrap = bootstrap
        self._shard = name
        self._clock = clock
        self._next_look: IDelayedCall | None = None
        self._told = 0  # the epoch that the shard has, over the present connection
        self._pushing = False
        self._waiters: list[Deferred[None]] = []
        self._why: Condition = Condition.UNREACHABLE
        self._reason = ""  # why this side ended the connection; empty when it didn't
        self._dialer = Dialer(clock, endpoint, self, random)
        bootstrap.on_change(self._push)

    def startService(self) -> None:
        super().startService()
        self._dialer.dial()

    def stopService(self) -> None:
        super().stopService()
        self._stop_looking()
        self._dialer.close()

    def settle(self) -> Deferred[None]:
        """Have the shard told the present state.

        :return: a Deferred that fires when the shard has it, or can't be told now (it will be when it is back).
        """
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._push()
        return waiter

    # ------------------------------------------------------------------ what the dialer asks

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return bool(self.running)

    @inlineCallbacks
    def approve(self, connection: OutgoingConnection, greeting: Greeting) -> Steps[None]:
        """See `DialerOwner`."""
        bootstrap = self._bootstrap
        own = bootstrap.state.map.named(self._shard)
        assert own is not None  # the map's names never change
        self._told = 0
        try:
            bootstrap.change(judge(bootstrap.state, own, greeting))
            yield self._configure(connection)
        except _REFUSALS:
            self._why = Condition.REFUSED
            raise

    def connected(self, connection: OutgoingConnection) -> None:
        """See `DialerOwner`."""
        if self._bootstrap.report(self._shard, Condition.READY):
            own = self._bootstrap.state.map.named(self._shard)
            self._log.info("shard {name} at {at}: ready", name=self._shard, at=own.address if own else "?")
        self._look_later()

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self._stop_looking()
        reason = self._reason or reason
        if self._bootstrap.report(self._shard, self._why, reason):
            own = self._bootstrap.state.map.named(self._shard)
            self._log.warn(
                "shard {name} at {at}: {condition}: {reason}",
                name=self._shard,
                at=own.address if own else "?",
                condition=self._why.value,
                reason=reason,
            )
        self._why, self._reason = Condition.UNREACHABLE, ""

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`: `disconnected` has told it, and the shard is dialed again all the same."""

    # ------------------------------------------------------------------ inside

    @inlineCallbacks
    def _configure(self, connection: OutgoingConnection) -> Steps[None]:
        while self._told != self._bootstrap.state.epoch:
            state = self._bootstrap.state
            yield connection.call(
                commands.Configure, settings.TIMEOUT, name=self._shard, state=cluster_state.to_json(state)
            )
            self._told = state.epoch

    def _push(self) -> None:
        """Tell the shard the present state; one push at a time."""
        connection = self._dialer.connection
        if self._pushing:
            return
        if connection is None or self._told == self._bootstrap.state.epoch:
            self._settled()
        else:
            self._pushing = True
            self._configure(connection).addCallbacks(self._pushed, self._not_told, errbackArgs=(connection,))

    def _pushed(self, _: None) -> None:
        self._pushing = False
        self._push()

    def _not_told(self, failure: Failure, connection: OutgoingConnection) -> None:
        self._pushing = False
        self._end(connection, failure)
        self._settled()

    def _settled(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _end(self, connection: OutgoingConnection, failure: Failure) -> None:
        """Give a connection up, if it is still the present one, and report why."""
        if self._dialer.connection is connection:
            self._why = Condition.REFUSED if failure.check(*_REFUSALS) else Condition.UNREACHABLE
            self._reason = reason_of(failure)
            self._dialer.drop()

    def _look_later(self) -> None:
        self._next_look = self._clock.callLater(settings.WATCH_INTERVAL, self._look)

    def _look(self) -> None:
        self._next_look = None
        connection = self._dialer.connection
        if connection is not None:
            connection.call(commands.Ping, settings.TIMEOUT).addCallbacks(
                lambda _: self._look_later() if self._dialer.connection is connection else None,
                lambda failure: self._end(connection, failure),
            )

    def _stop_looking(self) -> None:
        look, self._next_look = self._next_look, None
        if look is not None:
            look.cancel()
