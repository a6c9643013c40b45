"""A shard that leads a group in which another member gives its word only when a test says so."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import msgspec
from deferreds import result, watch
from shard.served import ROOMY, Bench
from shard.states import LOW

from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import ShardMap
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Run
from pyshard.replication.answer_gate import AnswerGate
from pyshard.replication.pulls import Pull, PulledHead
from pyshard.shard.shard_replica import ShardReplica

ME, OTHER = MapReplica("127.0.0.1", 5050, StoreId("1d", "1d")), MapReplica("127.0.0.1", 6050, StoreId("9x", "9x"))


class Led(Bench):
    """A bench whose shard leads low, first alone; with `join` another one is a member.

    :ivar member: the other one's connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shard.replica = self.replica = ShardReplica(self.shard.store, self.clock, self.network.dial, Random(1))
        self.epoch = 7
        result(self.shard.configure("low", self._state(ME)))
        self.member = self.connect(BoundedAMP(self.clock))

    @property
    def gate(self) -> AnswerGate:
        """Where answers wait."""
        replica = self.replica._replica
        assert replica is not None
        return replica.gate

    def join(self) -> None:
        """From now on nothing is committed, and no read answered, without the other one's word."""
        self.epoch += 1
        result(self.shard.configure("low", self._state(ME, OTHER)))

    def hear(self) -> list[Any]:
        """The other one has all that there is, and promises; what the question comes to that waits for more."""
        answer = self.pull(self.shard.store.position.sequence)
        beacon = msgspec.msgpack.decode(answer[0]["pulled"], type=PulledHead).beacon
        return self.pull(self.shard.store.position.sequence, beacon)

    def leave(self) -> None:
        """Its promise runs out."""
        self.network.advance(2.0)

    def asked(self, peer: BoundedAMP, *runs: Run) -> list[Any]:
        """What a batch comes to."""
        answer = watch(peer.call(commands.Apply, 1e6, epoch=self.epoch, batch=encode_runs(list(runs))))
        self.network.settle()
        return answer

    @property
    def held(self) -> int:
        """Bytes that the daemon holds for all peers."""
        return self.service.factory.held.total

    def pull(self, last: int, beacon: bytes = b"") -> list[Any]:
        """Have the other one ask for the groups behind one; without a beacon it is answered at once."""
        pull = Pull(self.epoch, OTHER.address, "9x", "9x", tuple(self.shard.store.ballots), last, True, beacon)
        asked = watch(self.member.call(commands.PullGroups, 9, pull=msgspec.msgpack.encode(pull), offset=0))
        self.network.settle()
        return asked

    def _state(self, *members: MapReplica) -> ClusterState:
        addresses = frozenset(member.address for member in members)
        group = ReplicaGroup(self.epoch, ME.address, addresses, (ME, OTHER), 1, 1.0)
        low = attrs.evolve(LOW, limit=10**9).led_by_group(group)
        return attrs.evolve(ROOMY, epoch=self.epoch, map=ShardMap([low, *ROOMY.map.shards[1:]]))
