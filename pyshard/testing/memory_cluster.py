"""A whole cluster in memory, for tests: real shards, a real bootstrap and real clients over a `MemoryNetwork`.

Rules:

- time passes only in `run` and `advance`;
- chance comes from a seed, so a run repeats itself exactly.

An example::

    from pyshard.testing import MemoryCluster

    with MemoryCluster() as cluster:
        client = cluster.connect()
        assert cluster.run(client.write("test", "hello world")) == 60
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from itertools import count, pairwise
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.blocking import Pyshard
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.bootstrap.bootstrap import Bootstrap, first_state
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.client import Client, connect
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.net.authenticating_endpoint import authenticated_dial
from pyshard.net.client_endpoints import Dial
from pyshard.net.connection_parameters import connection_parameters
from pyshard.security.tokens_and_roles import Role, Tokens
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import IStore, MemoryStore
from pyshard.testing.memory_network import MemoryNetwork
from pyshard.testing.memory_sockets import MemorySockets

_T = TypeVar("_T")
_HOST = "127.0.0.1"
_FIRST_PORT = 5050
_SIZE = 1024**3


class MemoryCluster:
    """Some shards, called ``shard0``, ``shard1``, …, and a bootstrap.

    Shards have equal parts of the keyspace by default. When it is made, everything is started and configured.

    :param shards: how many shards, at least 1; or the ranges of each, in slots: ``[[(0, 5_000_000)], …]``.
    :param size: bytes that each shard may store.
    :param seed: for all jitter and ids.
    :param store: opens the store of a shard that starts, given the shard's name and a function that gives the time in
        seconds; default: a new `pyshard.storage.MemoryStore`.
    :param tokens: the valid tokens, one of them of an admin, as `pyshard.security.tokens_and_roles.parse` returns them;
        default: no client needs a token.
    :param replicas: how many replicas each shard has. The first one is called as its shard, the others ``shard0.2``, ….
    :param lease: seconds of their leases; see docs/availability.md.
    :ivar tokens: the valid tokens; assign others to exchange them.
    :ivar clock: the cluster's time.
    :ivar network: the network, for `cut`, `silence` and listening on addresses of one's own.
    :ivar state_store: where the bootstrap keeps the cluster's state.
    :ivar services: the running shards' services by name; ``services[name].shard`` is the shard itself.
    """

    def __init__(
        self,
        shards: int | Sequence[Sequence[tuple[int, int]]] = 2,
        *,
        size: int = _SIZE,
        seed: int = 0,
        store: Callable[[str, Callable[[], float]], IStore] | None = None,
        tokens: Tokens | None = None,
        replicas: int = 1,
        lease: float = settings.LEASE,
    ) -> None:
        self.tokens = tokens
        self._checked_tokens = None if tokens is None else self._valid_tokens
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.random = Random(seed)
        self.services: dict[str, ShardService] = {}
        self._clients: list[Client] = []
        self._open_store = store or (lambda _, seconds: MemoryStore(self._id(), seconds))
        ranges = _equal_parts(shards) if isinstance(shards, int) else shards
        self.map = ShardMap(
            _replicated(MapShard(f"shard{number}", owned, size, _HOST, _FIRST_PORT + number), replicas, lease)
            for number, owned in enumerate(ranges)
        )
        self.state_store = MemoryStateStore(first_state(self._id(), self.map))
        self.bootstrap: BootstrapService | None = None
        self._bootstraps = count(1)
        for name in self.processes:
            self.start_shard(name)
        self.start_bootstrap()
        self.advance(1)

    @property
    def state(self) -> ClusterState:
        """The cluster's state, as it is kept."""
        stored = self.state_store.stored
        assert stored is not None, "there is one from the beginning"
        return stored.state

    @state.setter
    def state(self, state: ClusterState) -> None:
        """Have the bootstrap that is started next begin with another state."""
        self.state_store = MemoryStateStore(state)

    @property
    def names(self) -> Sequence[str]:
        """The shards' names, in the map's order."""
        return [shard.name for shard in self.map.shards]

    @property
    def processes(self) -> dict[str, tuple[str, int]]:
        """The names of all replicas of all shards, and where each is."""
        return {
            shard.name if number == 1 else f"{shard.name}.{number}": place
            for shard in self.map.shards
            for number, place in enumerate(shard.places, 1)
        }

    def connect(
        self,
        *,
        deadline: float = settings.DEADLINE,
        secret: bytes | Callable[[], bytes] | None = None,
        read_from: ReadFrom = "primary",
    ) -> Client:
        """A new client, connected to the bootstrap.

        :param deadline: seconds that an operation may take, unless it is given another.
        :param secret: the secret of its token, or a function that gives it for each new connection; None: no token.
        :param read_from: where it reads, as `pyshard.connect` takes it.
        """
        host, port = settings.BOOTSTRAP_SERVER
        dial = authenticated_dial(self.network.dial, (lambda: secret) if isinstance(secret, bytes) else secret)
        client = self.run(
            connect(
                self.clock,
                [host, port],
                deadline=deadline,
                token_file="",  # so that the environment doesn't matter
                read_from=read_from,
                dial=dial,
                random=Random(self.random.random()),
            )
        )
        self._clients.append(client)
        return client

    def blocking(
        self,
        *,
        deadline: float = settings.DEADLINE,
        token_file: Path | str = "",
        pass_time: Callable[[float], None] | None = None,
        read_from: ReadFrom = "primary",
    ) -> Pyshard:
        """A new blocking client, connected to the bootstrap; the cluster's time passes while its calls wait.

        :param deadline: seconds that an operation may take, unless it is given another.
        :param token_file: the file whose first token it presents; empty: none.
        :param pass_time: lets some seconds pass, in place of `advance`.
        :param read_from: where it reads, as `Pyshard` takes it.
        """
        sockets = MemorySockets(self.network, pass_time)
        random = Random(self.random.random())
        parameters = connection_parameters(
            deadline=deadline, token_file=token_file, tls=False, addresses={}, read_from=read_from
        )
        return over(Connector(parameters, lambda: sockets, random))

    def run(self, work: Deferred[_T] | Coroutine[Deferred[Any], Any, _T], seconds: float = 60.0) -> _T:
        """Let time pass until `work` is done.

        :param work: a Deferred or a coroutine.
        :param seconds: how much of the cluster's time it may take.
        :return: its result.
        :raises BaseException: what it failed with.
        :raises AssertionError: it isn't done by then, or nothing is left that could ever finish it.
        """
        deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        outcome: list[_T | Failure] = []
        deferred.addBoth(outcome.append)
        end = self.clock.seconds() + seconds
        self.network.settle()
        while not outcome:
            upcoming = self.network.next_call()
            assert upcoming is not None, "nothing is left that could finish this"
            assert upcoming <= end, f"not done within {seconds:g} s"
            self.network.advance(max(0.0, upcoming - self.clock.seconds()))
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.network.advance(seconds)

    def start_shard(self, name: str) -> None:
        """Start a shard, or a replica of one, that isn't running; with a store in memory it is empty."""
        assert name in self.processes, f"there is no {name}"
        assert name not in self.services, f"{name} runs already"
        shard = Shard(self._open_store(name, self.clock.seconds), self.clock.seconds)
        endpoint, dial = self.network.listen(*self.processes[name]), self._dial_as_daemon()
        service = ShardService(lambda: shard, self.clock, endpoint, self._checked_tokens, dial=dial, random=self.random)
        self.services[name] = service
        service.startService()

    def stop_shard(self, name: str) -> None:
        """Stop a shard in an orderly way."""
        self.run(maybeDeferred(self.services.pop(name).stopService))

    def kill_shard(self, name: str) -> None:
        """End a shard abruptly: its connections break, and bytes on their way are lost."""
        host, port = self.processes[name]
        self.network.listeners.pop((host, port))
        self.network.cut(host, port)
        self.network.settle()
        self.run(maybeDeferred(self.services.pop(name).stopService))

    def start_bootstrap(self) -> None:
        """Start the bootstrap, which isn't running, from its last state."""
        assert self.bootstrap is None, "the bootstrap runs already"
        host, port = settings.BOOTSTRAP_SERVER
        bootstrap = self._new_bootstrap()
        endpoint = self.network.listen(str(host), int(port))
        dial = self._dial_as_daemon()
        self.bootstrap = BootstrapService(bootstrap, self.clock, endpoint, dial, self.random, self._checked_tokens)
        self.bootstrap.startService()

    def stop_bootstrap(self) -> None:
        """Stop the bootstrap in an orderly way."""
        assert self.bootstrap is not None, "the bootstrap isn't running"
        bootstrap, self.bootstrap = self.bootstrap, None
        self.run(maybeDeferred(bootstrap.stopService))

    def close(self) -> None:
        """Close the clients and stop everything."""
        for client in self._clients:
            client.close()
        if self.bootstrap is not None:
            self.stop_bootstrap()
        for name in list(self.services):
            self.stop_shard(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _new_bootstrap(self) -> Bootstrap:
        return Bootstrap(self.state_store, self.clock, f"bootstrap {next(self._bootstraps)}", self.state_store.stored)

    def _valid_tokens(self) -> Tokens:
        assert self.tokens is not None, "a cluster that has tokens keeps having some"
        return self.tokens

    def _dial_as_daemon(self) -> Dial:
        """The way by which daemons dial each other."""
        return authenticated_dial(self.network.dial, None if self.tokens is None else self._admin_secret)

    def _admin_secret(self) -> bytes:
        token = self._valid_tokens().first(Role.ADMIN)
        assert token is not None, "without a token of role admin the bootstrap can't configure any shard"
        return token.secret

    def _id(self) -> str:
        return UUID(int=self.random.getrandbits(128)).hex


def _replicated(shard: MapShard, replicas: int, lease: float) -> MapShard:
    """A shard with so many replicas, a hundred ports from one to the next."""
    if replicas == 1:
        return shard
    places = [MapReplica(shard.host, shard.port + 100 * number) for number in range(replicas)]
    return shard.led_by_group(new_group(places, lease=lease))


def _equal_parts(shards: int) -> list[list[tuple[int, int]]]:
    """The keyspace in so many parts, as ranges of as many shards."""
    return [[bounds] for bounds in pairwise([SLOTS * number // shards for number in range(shards + 1)])]
