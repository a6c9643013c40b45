"""What can go wrong with a cluster in memory, at random, for runs that must make sense all the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import attrs
from deferreds import change_state
from handover import hand_over

from pyshard.bootstrap.bootstrap import Condition
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardMap
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

#: Where ranges may meet.
BOUNDS = [1, 1_500_000, 2_500_000, 5_000_000, 8_000_000, 9_999_999]

_NETWORK = ["cut", "cut", "cut after", "cut after", "silence", "deafen", "strand", "strand", "delay", "mend", "mend"]


class Faults:
    """The faults of one run.

    :param random: chooses them.
    :param finish: called before ranges move: shards that hand them over have to finish what they were told before.
    :ivar moves: how often ranges went to other shards.
    """

    def __init__(self, cluster: MemoryCluster, random: Random, finish: Callable[[], None] = lambda: None) -> None:
        self._cluster = cluster
        self._random = random
        self._finish = finish
        self._touched: set[tuple[str, int]] = set()
        self.moves = 0

    def of_network(self) -> None:
        """One random fault of the network at a random address, or the end of some."""
        random, network = self._random, self._cluster.network
        own = random.choice(self._cluster.state.map.shards)
        address = random.choice([(own.host, own.port)] * 3 + [(str(settings.BOOTSTRAP_SERVER[0]), 9192)])
        kind = random.choice(_NETWORK)
        self._touched.add(address)
        if kind == "cut":
            network.cut(*address)
        elif kind == "cut after":
            network.cut_after(*address, random.choice([1, 10, 100, 300, 1000]), answers=random.random() < 0.5)
        elif kind == "silence":
            network.silence(*address)
        elif kind == "deafen":
            network.deafen(*address)
        elif kind == "strand":
            network.strand(*address)
        elif kind == "delay":
            network.delay(*address, random.choice([0.001, 0.05, 0.5]))
        else:
            self.mend(lost=random.random() < 0.5)

    def mend(self, lost: bool = False) -> None:
        """End all faults of the network.

        :param lost: what was held back is lost, and doesn't arrive.
        """
        network = self._cluster.network
        for address in sorted(self._touched):
            if lost:
                network.cut(*address)
            network.unsilence(*address)
            network.undeafen(*address)
            network.unstrand(*address)
            network.delay(*address, 0)
        self._touched.clear()

    def bootstrap(self) -> None:
        """Stop the bootstrap, or start it."""
        if self._cluster.bootstrap is None:
            self._cluster.start_bootstrap()
        else:
            self._cluster.stop_bootstrap()

    def settled(self) -> bool:
        """Whether the bootstrap runs and sees every shard as ready."""
        bootstrap = self._cluster.bootstrap
        return bootstrap is not None and all(
            one.condition is Condition.READY for one in bootstrap.bootstrap.readiness()
        )

    def move(self) -> None:
        """Hand ranges over between the shards, at one moment; the bootstrap tells of it a little later.

        Each shard has one range afterwards, several, or none.
        """
        cluster, random = self._cluster, self._random
        if not self.settled() or len(cluster.map.shards) == 1:
            return
        # Shards that hand ranges over will have to refuse what was sent before they had them. Here it comes first.
        self.mend()
        cluster.advance(1)
        if not self.settled():
            return
        assert cluster.bootstrap is not None
        keeper = cluster.bootstrap.bootstrap
        bounds = sorted(random.sample(BOUNDS, random.randint(1, len(BOUNDS))))
        owned: dict[str, list[tuple[int, int]]] = {name: [] for name in cluster.names}
        for one in pairwise([0, *bounds, SLOTS]):
            owned[random.choice(cluster.names)].append(one)
        shards = [attrs.evolve(own, ranges=owned[own.name]) for own in keeper.state.map.shards]
        state = attrs.evolve(keeper.state, epoch=keeper.state.epoch + 1, map=ShardMap(shards))
        self._finish()
        hand_over(cluster, state)
        self.moves += 1
        cluster.advance(random.choice([0, 0.02, 0.2]))
        change_state(keeper, state)
