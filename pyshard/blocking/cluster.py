"""The cluster as a blocking client knows it: its map, a pool for each shard, and what follows an error.

Rules:

- An older map never replaces a newer one, but the bootstrap's replaces one that only a shard has given
  (`pyshard.client_core.map_fetching`). While a map is a shard's word alone, calls look for the bootstrap, now and then,
  for a moment.
- A map is taken up in one step, so that a call sees the old one or the new.
- One thread at a time fetches the map. The others wait for it, for a moment, and then go on with what there is.
- What becomes of an operation after an error is decided in `pyshard.client_core.retry_decision`; the thread that called
  does it.
- Every operation ends by its deadline.
- An exception that cuts a change short says so (`pyshard.blocking.interrupted_change`).
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from math import inf
from random import Random

import attrs

from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import Interest, Network, Steps, run
from pyshard.blocking.connection_limit import ConnectionLimit
from pyshard.blocking.connection_pool import ConnectionPool
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.fork_count import fork_count
from pyshard.blocking.interrupted_change import tell_doubt
from pyshard.blocking.map_server_pools import MapServerPools, ask_first, is_bootstrap
from pyshard.blocking.map_view import MapView
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.replica_pools import ReplicaPools
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.blocking.shard_pool import ShardPool, looking_nowhere
from pyshard.blocking.weak_method_calls import weakly
from pyshard.client_core import map_fetching
from pyshard.client_core.map_fetching import MapRank
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.client_core.operation_errors import in_doubt, refused_by, too_late
from pyshard.client_core.read_sizes import ReadSizes
from pyshard.client_core.retry_decision import Attempt, Verdict, decide, index_is_missing
from pyshard.errors import ClientClosed, IndexNotFound, PyshardError
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard
from pyshard.protocol import commands
from pyshard.settings import settings

_HARMLESS = (Attempt.NOT_SENT, Attempt.REFUSED, Attempt.PUT_OFF)  # attempts that certainly changed nothing
_CLOSED = "this Pyshard is closed; make a new one"


class BlockingCluster:
    """A cluster's shards, as one process reaches them.

    :param network: gives sockets and the time.
    :param random: jitter, and the ids of sessions.
    :param servers: the addresses that the client was given.
    :param target: where a shard is; its host and port are each shard's own.
    :param addresses: where shards are dialed in place of where the map says.
    :param on_failure: see `ConnectionPool`; None: nobody wants to know.
    :param read_from: where what only reads goes that may find what is a little old.
    :param most_connections: to shards, at a time.
    :ivar limit: that many.
    :ivar replicas: the members at which that is; None: it is primaries alone.
    :ivar view: the newest map; only after `start`.
    :ivar forks: how often this process was forked when it was made; in a child it is of no use.
    """

    view: MapView

    def __init__(
        self,
        network: Network,
        random: Random,
        servers: Sequence[tuple[str, ConnectionTarget]],
        target: ConnectionTarget,
        addresses: AddressMapping = AS_ANNOUNCED,
        on_failure: Callable[[str, str], object] | None = None,
        read_from: ReadFrom = "primary",
        most_connections: float = inf,
    ) -> None:
        self.network = network
        self._random = random
        self._target = target
        self._addresses = addresses
        self._pools: dict[str, ShardPool] = {}
        self._views: dict[MapRank, MapView] = {}  # the newest, and what a thread is about to take up
        self._shards_rest = 0.0  # until when no map of a shard's is taken up
        self._confirm_at = 0.0  # when the bootstrap is looked for next, while the map is a shard's word alone
        # By the shard's name, also of one that isn't in the map any more, while there are any: it may come back, and
        # still have bytes of a connection that was given up when it went.
        self._in_doubt: dict[str, SessionsInDoubt] = {}
        self._gone: dict[str, weakref.ref[ShardPool]] = {}
        self._pace = map_fetching.MapPace()
        self._inside: dict[int, weakref.ref[GatheredOperation]] = {}
        self._fetching_until = 0.0
        self.fetched = 0.0
        self.read_sizes = ReadSizes()
        self.forks = fork_count()
        self.closed = False
        self.servers = MapServerPools(network, random, servers)
        self._on_failure = on_failure
        self.limit = ConnectionLimit(most_connections, weakly(self._shard_pools, list))
        for server in self.servers.pools:
            self._watch(server)
        self.replicas: ReplicaPools | None = None
        if read_from == "nearest":
            cluster, target_of = weakly(self._cluster_id, str), weakly(self._target_of, lambda: target)
            self.replicas = ReplicaPools(network, random, cluster, target_of, self.limit.made)

    @property
    def state(self) -> ClusterState:
        """The cluster state that calls go by."""
        return self.view.state

    def start(self, seconds: float) -> None:
        """Get the first map.

        :raises PyshardError: there was none within these seconds; the message says why, of each address.
        """
        self.adopt(*self.servers.first_map(self.network.now() + seconds, seconds))

    def pool_for(self, slot: int) -> ShardPool:
        """The pool of the shard that owns a slot."""
        view = self.view
        return view.owners[bisect_right(view.starts, slot) - 1]

    def operate(self, operation: GatheredOperation) -> object:
        """Have an operation done.

        :return: what the verb gives.
        :raises PyshardError: it failed.
        """
        thread = threading.get_ident()
        outer = self._inside.get(thread)
        nested = outer is not None and outer() is not None
        if not nested:
            self._inside[thread] = weakref.ref(operation)
        try:
            replicas = self.replicas if operation.may_be_stale else None
            while True:
                pool = self.pool_for(operation.slot)
                if self.closed:
                    raise ClientClosed(_CLOSED)
                if replicas is not None and (read := replicas.read(operation, pool, nested)) is not None:
                    return read.outcome
                pool.apply(operation, nested)
                if operation.attempt is None:
                    return operation.outcome
                if replicas is not None:
                    replicas.lost(pool)
                self._after_failure(operation, pool, operation.attempt, operation.outcome)
                operation.begin()
        except BaseException as error:
            if operation.sent and operation.changes and operation.attempt not in _HARMLESS:
                tell_doubt(error, f"{operation} was sent, but this call was interrupted")
            raise
        finally:
            if not nested:
                self._inside.pop(thread, None)

    def check_open(self) -> None:
        """Make sure that something can be asked.

        :raises ClientClosed: it can't any more.
        """
        if self.closed:
            raise ClientClosed(_CLOSED)

    def index_missing(self, index: str, first_refused: float) -> bool:
        """Whether a map that is new enough agrees with a shard that there is no such index."""
        return index_is_missing(index, self.state.indexes, self.fetched, first_refused)

    def refresh(self, until: float) -> None:
        """Fetch the newest map, or wait until another thread has; for a moment at most."""
        run(self.network, self.refreshing(until))

    def refreshing(self, until: float) -> Steps[None]:
        """As `refresh`, while the thread waits for other things, too."""
        network = self.network
        now = network.now()
        epoch = self.state.epoch
        if now < self._fetching_until:
            end = min(until, self._fetching_until, now + settings.TIMEOUT / 20)
            while network.now() < end and self._fetching_until > 0 and self.state.epoch == epoch:
                yield from Interest((), min(end, network.now() + 0.005))
            return
        self._fetching_until = min(until, now + settings.TIMEOUT / 2)
        try:
            pause = max(now + map_fetching.JITTER * self._random.random(), self._pace.earliest)
            yield from Interest((), min(until, pause))
            pools = self.servers.by_preference(self.view.pools)
            yield from self._fetch(pools, min(until, network.now() + settings.TIMEOUT / 2))
        except PyshardError:
            pass  # who waits for a newer map tries again until its own deadline
        finally:
            self._fetching_until = 0.0

    def confirm(self, until: float) -> None:
        """While the map is a shard's word alone, ask the bootstrap for its own, if it is time to, for a moment."""
        now = self.network.now()
        if self.view.rank.confirmed or now < max(self._confirm_at, self._fetching_until):
            return
        self._confirm_at = now + map_fetching.CONFIRM_EVERY
        if pools := self.servers.perhaps_bootstraps():
            with suppress(PyshardError):  # it is looked for again
                run(self.network, self._fetch(pools, min(until, now + map_fetching.CONFIRM_WITHIN)))

    def adopt(self, state: ClusterState, by_bootstrap: bool = True) -> None:
        """Take up a map, if it is newer, or counts more.

        :param by_bootstrap: whether a bootstrap gave it.
        """
        old = max(list(self._views), default=None)
        now = self.network.now()
        same = old is not None and state == self.view.state
        rank = map_fetching.rank_of(old, state.epoch, same, by_bootstrap, now < self._shards_rest)
        if rank is None:
            return
        if not by_bootstrap:
            self._confirm_at = now + map_fetching.CONFIRM_EVERY
        if old is not None and rank.era > old.era:
            self._shards_rest = now + map_fetching.SHARDS_REST
        pools = {own.name: self._pool_of(own, state, rank) for own in state.map.shards}
        owners = [pools[own.name] for own in state.map.owners]
        self._views[rank] = MapView(state, rank, state.map.starts, owners, pools)
        while (newest := self._views[max(list(self._views))]) is not getattr(self, "view", None):
            self.view = newest  # and look again: another thread may have put down a newer one before this line
        for lower in [other for other in list(self._views) if other < newest.rank]:
            self._views.pop(lower, None)
        for name in self._pools.keys() - newest.by_name.keys():
            if (pool := self._pools.pop(name, None)) is not None:  # calls that it answers already go on to their end
                self._gone[name] = weakref.ref(pool)
        self._forget_gone()

    def close(self) -> None:
        """End all connections; calls that wait for an answer fail."""
        self.closed = True
        if self.replicas is not None:
            self.replicas.close()
        pools: list[ConnectionPool] = [*self._pools.values(), *self.servers.pools]
        for pool in pools:
            pool.close()

    # ------------------------------------------------------------------ inside

    def _forget_gone(self) -> None:
        """Forget shards that aren't in the map, once nothing there is in doubt: maps may name shards without end."""
        for name, pool in self._gone.copy().items():
            if name in self._pools:
                self._gone.pop(name, None)
            elif pool() is None and not self._in_doubt.get(name):
                self._gone.pop(name, None)
                self._in_doubt.pop(name, None)

    def _pool_of(self, own: MapShard, state: ClusterState, rank: MapRank) -> ShardPool:
        target = self._target_of(own)
        pool = self._pools.get(own.name)
        if pool is None:
            in_doubt = self._in_doubt.setdefault(own.name, SessionsInDoubt())
            made = ShardPool(self.network, self._random, target, own, state.cluster, in_doubt, self._addresses)
            made.looking, made.on_new = weakly(self.refreshing, looking_nowhere), self.limit.made
            self._watch(made)
            pool = self._pools.setdefault(own.name, made)
        pool.update(own, rank, target)
        return pool

    def _cluster_id(self) -> str:
        return self.state.cluster

    def _target_of(self, own: MapShard) -> ConnectionTarget:
        host, port = self._addresses.dialed(own.host, own.port)
        return attrs.evolve(self._target, host=host, port=port)

    def _shard_pools(self) -> list[ConnectionPool]:
        """All pools but those of the addresses that the client was given."""
        members = [] if self.replicas is None else self.replicas.pools
        return [*list(self._pools.values()), *members]

    def _watch(self, pool: ConnectionPool) -> None:
        if self._on_failure is not None:
            pool.on_failure = self._on_failure

    def _fetch(self, pools: Sequence[ConnectionPool], until: float) -> Steps[None]:
        began = self.network.now()

        def accept(pool: ConnectionPool, answer: dict[str, bytes]) -> tuple[ClusterState, bool]:
            read = self.network.now()
            try:
                state = self.servers.states.read(answer["state"])
                self.servers.check_cluster(state.cluster)
            finally:
                self._pace.took(read, self.network.now())
            return state, is_bootstrap(pool)

        state, by_bootstrap = yield from ask_first(
            self.network, pools, commands.GetMap, accept, until, round(until - began, 2)
        )
        self.fetched = began
        read, before = self.network.now(), self.view.rank
        self.adopt(state, by_bootstrap)
        self.servers.in_vain += self.view.rank == before
        self._pace.took(read, self.network.now())

    def _after_failure(self, operation: GatheredOperation, pool: ShardPool, attempt: Attempt, error: object) -> None:
        """Raise what the caller is to hear; or wait until the operation can be tried again."""
        assert isinstance(error, Exception)
        now = self.network.now()
        missing = False
        if isinstance(error, IndexNotFound) and attempt in (Attempt.REFUSED, Attempt.PUT_OFF):
            if operation.refused is None:
                operation.refused = now
            missing = self.index_missing(operation.index, operation.refused)
        verdict = decide(attempt, error, operation.changes, missing)
        if verdict is Verdict.FAIL:
            self.check_open()
            raise copy(refused_by(pool.peer_name(), error))
        late = isinstance(error, TooLate)
        why = _late(now, operation) if late else str(error)
        if verdict is Verdict.IN_DOUBT:
            raise in_doubt(operation, pool.peer_name(), why)
        if now < operation.expires:
            if verdict is not Verdict.RETRY:
                if attempt not in (Attempt.NOT_SENT, Attempt.PUT_OFF):  # the pool knows of these already
                    pool.rest()
                if verdict is Verdict.REFRESH:
                    self.refresh(operation.expires)
            self.network.sleep(min(operation.expires, pool.rested()))
        if self.network.now() >= operation.expires:
            why = pool.why if attempt is Attempt.NOT_SENT and late else why
            raise too_late(operation, pool.peer_name(), why)


def _late(now: float, operation: GatheredOperation) -> str:
    if now < operation.expires:
        return f"no answer came for {settings.DEADLINE:g} s"
    return "no answer came before the deadline"
