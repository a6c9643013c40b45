"""A bootstrap and the shards that it watches, on one network in memory."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap, Condition, first_state
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.errors import ConfigError
from pyshard.model.address_mapping import AS_ANNOUNCED
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.shard.assignment import Assignment
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import IStore, MemoryStore
from pyshard.testing import MemoryNetwork

LOW, HIGH = ("127.0.0.1", 5050), ("127.0.0.1", 5051)
MAP = ShardMap(
    [MapShard("low", ((0, SLOTS // 2),), 10**6, *LOW), MapShard("high", ((SLOTS // 2, SLOTS),), 10**6, *HIGH)]
)


class DurableStore(MemoryStore):
    """As far as the bootstrap can tell, a store that outlives a restart."""

    ephemeral = False


class Bench:
    """A bootstrap and shards on one network; nothing runs at first."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.writers = 0
        self.store = MemoryStateStore(first_state("c1", MAP))
        self.bootstrap = self.new_bootstrap()
        self.shards: dict[str, ShardService] = {}
        self.service: BootstrapService | None = None
        self.stores = 0
        self.addresses = AS_ANNOUNCED

    def new_bootstrap(self) -> Bootstrap:
        """A bootstrap that begins with what is saved."""
        self.writers += 1
        return Bootstrap(self.store, self.clock, f"b{self.writers}", self.store.stored)

    @property
    def saved(self) -> list[ClusterState]:
        """The states that were saved since the beginning."""
        return self.store.swaps

    def fill_disk(self, full: bool = True) -> None:
        """Have no state be saved any more, or again."""
        self.store.away = ConfigError("the disk is full") if full else None

    @property
    def state(self) -> ClusterState:
        """The cluster's state."""
        return self.bootstrap.state

    def start_bootstrap(self) -> BootstrapService:
        """Start the bootstrap."""
        endpoint = self.network.listen("localhost", 9192)
        self.service = BootstrapService(
            self.bootstrap, self.clock, endpoint, self.network.dial, Random(0), addresses=self.addresses
        )
        self.service.startService()
        return self.service

    def start_shard(self, name: str, store: IStore | None = None, own: MapShard | None = None) -> Shard:
        """Start a shard at its address, with an empty store or with this one.

        :param own: what it will be in the map; None: what it is in `MAP`.
        """
        own = own or MAP.named(name)
        assert own is not None
        self.stores += 1
        shard = Shard(store or MemoryStore(f"store{self.stores}", self.clock.seconds), self.clock.seconds)
        self.shards[name] = ShardService(
            lambda: shard, self.clock, self.network.listen(own.host, own.port), dial=self.network.dial
        )
        self.shards[name].startService()
        return shard

    def kill_shard(self, name: str) -> None:
        """End a shard without a word."""
        where = {"low": LOW, "high": HIGH}.get(name, ("127.0.0.1", 5052))
        del self.network.listeners[where]
        del self.shards[name]
        self.network.cut(*where)
        self.network.settle()

    def running(self) -> Bench:
        """Everything started, and time for it to be ready."""
        self.start_shard("low")
        self.start_shard("high")
        self.start_bootstrap()
        self.network.advance(1)
        assert self.conditions() == [Condition.READY, Condition.READY]
        return self

    def start(self, names: Sequence[str], seconds: float) -> None:
        """Start things in an order, with some time after each."""
        for name in names:
            if name == "bootstrap":
                self.start_bootstrap()
            else:
                self.start_shard(name)
            self.network.advance(seconds)

    def conditions(self) -> list[Condition]:
        """How ready each shard is, in slot order."""
        return [one.condition for one in self.bootstrap.readiness()]

    def detail(self, name: str) -> str:
        """Why a shard isn't ready."""
        return next(one.detail for one in self.bootstrap.readiness() if one.name == name)

    def told(self) -> list[Assignment | None]:
        """What each shard knows, in slot order."""
        return [self.shards[name].shard.assignment for name in ("low", "high")]

    def everybody_knows(self) -> bool:
        """Whether each shard has its name and the newest state."""
        return self.told() == [Assignment("low", self.state), Assignment("high", self.state)]

    def settle(self) -> Deferred[None]:
        """Have all shards told, as `CreateIndex` has."""
        assert self.service is not None
        settling = self.service.settle()
        self.network.settle()
        return settling


def about(log_lines: list[str], name: str) -> list[str]:
    """What the log says of a shard."""
    return [line for line in log_lines if f"shard {name} at" in line]
