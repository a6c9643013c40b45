"""A reconciler: keeps one shard configured with the newest cluster state, and knows how ready it is.

Rules:

- A shard counts as ready when it has been judged (`bootstrap.judge`) and told the state.
- It is told each change of the state, one at a time, when it is its turn (`pyshard.bootstrap.push_turns`). A replica
  that is there and becomes the primary is ready when it has been told so.
- It is asked nothing before it was told a state over the present connection.
- The log tells why a shard isn't ready, and when it is again. A shard that has many reasons has few lines there.
- A shard in memory that comes with new stores all the time is taken up only now and then.
- A shard that doesn't answer is dialed again for ever; one that is pinged and silent counts as unreachable. While
  anything comes from it, such as a large answer before that to the ping, some pings may stay unanswered.
- A shard that knows more than this bootstrap has the state store read: another bootstrap may have told it.
- A shard that has left the map, or has another address, has its reconciler stopped (`shard_reconcilers`).
"""

from __future__ import annotations

from collections import deque
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, NewStores
from pyshard.bootstrap.questioned_shard import QuestionedShard
from pyshard.bootstrap.replica_judgement import identity_at, judge_at
from pyshard.bootstrap.state_telling import StateTelling
from pyshard.bootstrap.told_states import NOTHING_TOLD, Order
from pyshard.errors import (
    ForeignCluster,
    PyshardError,
    StaleEpoch,
    Unavailable,
    WrongIdentity,
    plain,
    shortened,
)
from pyshard.metrics.line_pace import LinePace
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

_UNANSWERED = 6  # pings, one behind the other's time: longer than a box may take to come (`UNFINISHED_BOX`)
_LOGGED = 500  # characters of a reason that the log has
_REFUSALS = (ForeignCluster, WrongIdentity, StaleEpoch)


class ShardReconciler(QuestionedShard):
    """Keeps one shard, or one replica of it, configured while it runs.

    :param bootstrap: whose state the shard gets.
    :param name: the shard's name in the map.
    :param address: the shard's in the map, or the replica's.
    :param endpoint: where the shard is.
    :param random: jitter.
    :param telling: tells shards the state.
    :param detour: what messages say behind its address in the map (`AddressMapping.detour`).
    :param longest: seconds that no pause between attempts to reach it exceeds.
    :ivar shard: the shard's name.
    """

    _log = Logger()

    def __init__(
        self,
        bootstrap: Bootstrap,
        name: str,
        address: str,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        random: Random,
        telling: StateTelling,
        detour: str = "",
        longest: float = settings.RETRY_LONGEST,
    ) -> None:
        super().__init__(bootstrap, name, address, clock)
        self._detour = detour
        self._next_ping: IDelayedCall | None = None
        self._unanswered = 0  # how many pings were not answered in their time, since one was
        self._telling = telling
        self._waiters: deque[tuple[tuple[int, int], Deferred[None]]] = deque()  # with the state that each waits for
        self._condition: Condition = Condition.UNREACHABLE
        self._reason = ""  # why this side ended the connection; empty when it didn't
        self._new_stores = NewStores()
        self._pace = LinePace(settings.SHARD_LINES)
        self._logged: tuple[Condition, str] = (Condition.UNREACHABLE, "")  # what the last line says of the shard
        self._dialer = Dialer(clock, endpoint, self, random, longest=longest)

    @property
    def connection(self) -> DialedConnection | None:
        """See `QuestionedShard`."""
        return None if self._telling.told(self) == NOTHING_TOLD else self._dialer.connection

    def startService(self) -> None:
        super().startService()
        self._dialer.dial()

    def stopService(self) -> None:
        super().stopService()
        self._stop_pinging()
        self._dialer.close()
        self._leave()

    def settle(self) -> Deferred[None]:
        """Have the shard told the present state.

        :return: a Deferred that fires when the shard has it, or a later one, or can't be told now (it will be when it
            is back). Changes that come after it aren't waited for.
        """
        order = self._bootstrap.state.order
        if self._dialer.connection is None or self._telling.told(self) >= order:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append((order, waiter))
        return waiter

    def push(self) -> Deferred[None]:
        """See `pyshard.bootstrap.push_turns.ToldShard`."""
        connection = self._dialer.connection
        if not self.running or connection is None or self._telling.told(self) >= self._bootstrap.state.order:
            return succeed(None)
        pushing = Deferred.fromCoroutine(self._configure(connection))
        return pushing.addErrback(lambda failure: self._end(connection, failure))

    # ------------------------------------------------------------------ what the dialer asks

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return bool(self.running)

    def approve(self, connection: DialedConnection, greeting: Greeting) -> Deferred[None]:
        """See `DialerOwner`."""
        return Deferred.fromCoroutine(self._approve(connection, greeting))

    async def _approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        bootstrap = self._bootstrap
        if greeting.epoch > bootstrap.state.epoch:  # another bootstrap may have told it of a change
            await bootstrap.changes.look()
        own = self._own(bootstrap.state)
        try:
            if judge_at(bootstrap.state, own, self.address, greeting) is not bootstrap.state:
                self._new_stores.check(self.shard, self._clock.seconds())
                await self._telling.stores.take_up(lambda state: self._with_greeted(state, own, greeting))
                self._new_stores.add(self._clock.seconds())
        except _REFUSALS:
            self._condition = Condition.REFUSED
            raise

    def _own(self, state: ClusterState) -> MapShard:
        """The shard, as a state has it.

        :raises WrongIdentity: it has left the cluster.
        """
        own = state.map.named(self.shard)
        if own is None:
            raise WrongIdentity(f"shard {self.shard!r} has left the cluster")
        return own

    def _with_greeted(self, state: ClusterState, own: MapShard, greeting: Greeting) -> ClusterState:
        """The state with the store that has greeted.

        :param own: the shard as it was when that began.
        :raises Unavailable: another bootstrap has taken up a store of that shard meanwhile. It may be a newer one.
        """
        present = self._own(state)
        if identity_at(present, self.address) not in (identity_at(own, self.address), greeting.identity):
            raise Unavailable(f"another bootstrap has met another store of shard {self.shard!r}; it is dialed again")
        return judge_at(state, present, self.address, greeting)

    def _set_readiness(self, condition: Condition, detail: str = "") -> None:
        """How ready a shard is, its primary says."""
        own = self._bootstrap.state.map.named(self.shard)
        if own is None or own.address == self.address:
            self._bootstrap.set_readiness(self.shard, condition, detail)

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`: the shard is ready when it was told the state."""
        self._expect(connection)
        self._unanswered = 0
        self._schedule_ping()
        self._telling.come(self)

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self._stop_pinging()
        self._leave()
        reason = self._reason or reason
        self._set_readiness(self._condition, f"{reason}{self._detour}")
        self._log_reason(self._condition, shortened(plain(reason), _LOGGED))  # the shard may have written it
        self._condition, self._reason = Condition.UNREACHABLE, ""

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`: `disconnected` has told it, and the shard is dialed again all the same."""

    # ------------------------------------------------------------------ inside

    def _log_reason(self, condition: Condition, reason: str) -> None:
        """Log why the shard isn't ready, unless that is the last line's reason, or it had many lines just now."""
        if (condition, reason) == self._logged or (more := self._pace.ending(self._clock.seconds())) is None:
            return
        self._logged = condition, reason
        self._log.warn(
            "shard {shard} at {at}: {condition}: {reason}{more}",
            shard=self.shard,
            at=self._at(),
            condition=condition.value,
            reason=reason,
            more=more,
        )

    def _at(self) -> str:
        """Where it is, for the log."""
        return f"{self.address}{self._detour}"

    async def _configure(self, connection: DialedConnection) -> None:
        """Tell the shard the present state.

        :raises PyshardError: it refuses that.
        """
        bootstrap = self._bootstrap
        order, state = bootstrap.state.order, self._telling.encoded_state()
        try:
            await connection.call_with_rest(commands.Configure, settings.TIMEOUT, state, name=self.shard)
        except StaleEpoch:  # another bootstrap may have told it of a change
            await bootstrap.changes.look()
            if bootstrap.state.order <= order:
                raise
            return  # it waits to be told that
        if self._dialer.connection is connection:
            self._told(order)

    def _told(self, order: Order) -> None:
        """The shard has this state."""
        self._telling.has(self, order)
        self._settled(order)
        self._set_readiness(Condition.READY)
        if self._logged[0] is not Condition.READY:
            self._logged = Condition.READY, ""
            self._log.info("shard {shard} at {at}: ready", shard=self.shard, at=self._at())

    def _leave(self) -> None:
        """The shard isn't in reach now: nobody waits for it."""
        self._telling.gone(self)
        while self._waiters:
            self._waiters.popleft()[1].callback(None)

    def _settled(self, order: tuple[int, int]) -> None:
        """Let go whoever waits for a state up to this one."""
        while self._waiters and self._waiters[0][0] <= order:
            self._waiters.popleft()[1].callback(None)

    def _end(self, connection: DialedConnection, failure: Failure) -> None:
        """Give a connection up, if it is still the present one, and report why."""
        if self._dialer.connection is connection:
            self._condition = Condition.REFUSED if failure.check(*_REFUSALS) else Condition.UNREACHABLE
            self._reason = reason_of(failure)
            self._dialer.drop()

    def _schedule_ping(self) -> None:
        self._next_ping = self._clock.callLater(settings.WATCH_INTERVAL, self._ping)

    def _ping(self) -> None:
        self._next_ping = None
        connection = self._dialer.connection
        if connection is not None:
            self._expect(connection)
            connection.call(commands.Ping, settings.TIMEOUT).addCallbacks(
                self._pinged, self._not_pinged, (connection,), errbackArgs=(connection, connection.heard)
            )

    def _pinged(self, _: object, connection: DialedConnection) -> None:
        if self._dialer.connection is connection:
            self._unanswered = 0
            self._schedule_ping()

    def _not_pinged(self, failure: Failure, connection: DialedConnection, heard: float) -> None:
        """Give the connection up, unless the answer is only late.

        :param heard: when anything was last heard before the ping.
        """
        if self._dialer.connection is not connection:
            return
        self._unanswered += 1
        if failure.check(TimeoutError) and connection.heard > heard and self._unanswered < _UNANSWERED:
            self._schedule_ping()
        else:
            self._end(connection, failure)

    def _stop_pinging(self) -> None:
        call, self._next_ping = self._next_ping, None
        if call is not None:
            call.cancel()
