"""A shard as a Twisted service: listens, sweeps expired records out of its store, and closes the store at the end.

Rules:

- The store is opened when the service starts, after twistd has daemonized, and before the port is open.
- What is parked (`pyshard.shard.parked_requests`) is refused when the service stops.
- The store is closed when everything that was asked has been answered. What waits when the drain is over is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.metrics.shard_families import SHARD_FAMILIES
from pyshard.net.client_endpoints import Dial
from pyshard.security import tls
from pyshard.security.tokens_and_roles import Tokens
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.server.counted_dials import counted_dial
from pyshard.server.described_service import DescribedService
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.paced_turns import PacedTurns
from pyshard.shard.parked_requests import ParkedRequests
from pyshard.shard.protocol import ShardProtocol
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard
from pyshard.shard.shard_moves import ShardMoves
from pyshard.shard.shard_replica import ShardReplica
from pyshard.shard.shard_stat import shard_stat, unhealthy, unready
from pyshard.shard.slow_operations import SlowOperationLog

_SWEEP_EVERY = 0.5  # seconds between looks for records that nobody can see any more
_SWEEP_NEXT = 0.005  # seconds until the next sweep while there are more; at the least
_SWEEP_REST = 5  # times that a sweep took of the reactor: so long others are served before the next one
_TRIM_REST = 12  # the same while it removes what a move has left over: nobody waits for that room
_SWEEP_MOST = 100  # records of one sweep, about a millisecond of the reactor
_SWEEP_MOST_DURABLE = 500  # the same where the store's own thread sweeps, in groups of its log


class ShardService(DescribedService):
    """Everything that a shard runs.

    :param open_shard: makes the shard; called when the service starts, which is after twistd has daemonized.
    :param clock: a reactor, or a Clock.
    :param endpoint: where to listen.
    :param tokens: gives the tokens that are valid now; None: whoever connects may do everything.
    :param connections: how many there may be.
    :param dial: leads to other shards, to pull ranges from them; None: it pulls from nobody.
    :param random: jitter.
    :param slow: seconds from which on an operation is slow, and has a line in the log; None: none is.
    """

    shard: Shard
    snapshots: OpenSnapshots
    followers: ServedFollowers
    moves: ShardMoves
    families = SHARD_FAMILIES
    _log = Logger()

    def __init__(
        self,
        open_shard: Callable[[], Shard],
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint,
        tokens: Callable[[], Tokens] | None = None,
        connections: ConnectionLimits | None = None,
        dial: Dial | None = None,
        random: Random | None = None,
        slow: float | None = None,
    ) -> None:
        super().__init__()
        self._open_shard = open_shard
        self._clock = clock
        self._dial: Dial | None = None
        self._random = random or Random()
        self._next_sweep: IDelayedCall | None = None
        slow_log = None if slow is None else SlowOperationLog(clock, slow, self._has_index)
        self.factory = ServerFactory(
            lambda made: ShardProtocol(self.shard, self.snapshots, self.followers, self.moves, made, clock, slow_log),
            clock,
            tokens=tokens,
            connections=connections,
        )
        if dial is not None:
            self._dial = counted_dial(dial, self.factory.turns.own)
        self.factory.certificate_expiry = tls.certificate_expiry(endpoint)
        self.listener = Listener(clock, endpoint, self.factory, refuse_waiting=self._refuse_waiting)
        self.listener.setServiceParent(self)

    def stat(self) -> dict[str, object]:
        """See `ReportedDaemon`."""
        return shard_stat(self.shard, self.snapshots, self.followers, self.factory)

    def unhealthy(self) -> str:
        """See `ReportedDaemon`."""
        return unhealthy(self.shard)

    def unready(self) -> str:
        """See `ReportedDaemon`."""
        return unready(self.shard, self.factory)

    def privilegedStartService(self) -> None:
        """Open the store, then listen."""
        self.shard = self._open_shard()
        self.snapshots = OpenSnapshots(self.shard, self._clock)
        self.followers = ServedFollowers(self.shard.store, self._clock, asked=lambda: self.shard.operations)
        parked = self.shard.parked = ParkedRequests(self._clock)
        if self.shard.store.ranges.sealed:  # it was killed meanwhile
            parked.slots_closed()
        self.shard.pause = PacedTurns(self._clock).next
        if self._dial is not None:
            self.shard.replica = ShardReplica(self.shard.store, self._clock, self._dial, self._random)
            self.followers.learners = self.shard.replica.learners
        self.moves = ShardMoves(self.shard, self.followers, self._clock, self._dial, self._random)
        self.moves.carriers.hold = self._hold_long
        super().privilegedStartService()

    def startService(self) -> None:
        """Begin to serve, and to sweep."""
        if not hasattr(self, "shard"):
            self.privilegedStartService()
        super().startService()
        self._sweep_later(more=False)
        if self.shard.replica is not None:
            self.shard.replica.start()
        self.moves.update()

    def stopService(self) -> Deferred[None]:
        """Answer what is owed, then close the store."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._next_sweep is not None:
            self._next_sweep.cancel()
            self._next_sweep = None
        if self.shard.parked is not None:
            self.shard.parked.close()
        if self.shard.replica is not None:
            self.shard.replica.large.close()
        await maybeDeferred(super().stopService)
        if self.shard.replica is not None:
            self.shard.replica.close()
        self.moves.close()
        self.followers.close()
        await self.shard.store.close()

    def log_fields(self) -> Mapping[str, str]:
        """See `DescribedService`: the shard's name, once it has one."""
        shard: Shard | None = getattr(self, "shard", None)
        assignment = shard.assignment if shard is not None else None
        return {} if assignment is None else {"shard": assignment.name}

    def status(self) -> str:
        """See `DescribedService`."""
        assignment, store = self.shard.assignment, self.shard.store
        if assignment is None:
            return "waits for a bootstrap that configures it"
        return f"shard {assignment.name}, epoch {assignment.state.epoch}, {store.documents:,} documents"

    def _has_index(self, name: str) -> bool:
        assignment = self.shard.assignment
        return assignment is not None and name in assignment.state.indexes

    def _hold_long(self, seconds: float) -> None:
        self.factory.turns.hold_long(seconds)
        self.shard.store.hold_large(seconds)

    def _refuse_waiting(self) -> None:
        self.shard.store.refuse_waiting()

    def _sweep_later(self, more: bool, took: float = 0.0) -> None:
        if self.running:
            rest = _TRIM_REST if self.shard.store.ranges.left else _SWEEP_REST
            pause = min(max(_SWEEP_NEXT, rest * took), _SWEEP_EVERY) if more else _SWEEP_EVERY
            self._next_sweep = self._clock.callLater(pause, self._sweep)

    def _sweep(self) -> None:
        self._next_sweep = None
        began = self._clock.seconds()
        most = _SWEEP_MOST if self.shard.store.ephemeral else _SWEEP_MOST_DURABLE
        swept = maybeDeferred(self.shard.store.sweep, most)
        took = self._clock.seconds() - began  # a durable store sweeps in its own thread, at its own pace
        swept.addCallbacks(self._sweep_later, self._not_swept, callbackArgs=(took,))

    def _not_swept(self, failure: Failure) -> None:
        self._log.warn("the room of expired records could not be given back: {why}", why=failure.getErrorMessage())
        self._sweep_later(more=False)
