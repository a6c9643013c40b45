"""A simulated group in which nothing goes wrong but what a test makes go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from linearizability import UNKNOWN
from replication.simulated_group import TIMES, World
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import GroupTimes

_T = TypeVar("_T")

A, B, C = "h:1", "h:2", "h:3"


class ScriptedGroup(World):
    """Machines A, B and C, of which A leads at first, and all are members.

    :param replicas: how many there are.
    :param ephemeral: whether stores are in memory.
    :param least: with fewer members no changes are taken.
    :param times: the group's.
    """

    def __init__(
        self, replicas: int = 3, ephemeral: bool = False, least: int = 1, times: GroupTimes = TIMES, seed: int = 1
    ) -> None:
        super().__init__(seed, ephemeral, replicas, least, times)
        self.state.lost = self.state.late = 0.0
        self.settle()
        self.clock.advance(times.grace)  # so that nothing of the beginning counts any more

    def result(self, asked: Deferred[_T], within: float = 10.0) -> _T:
        """What comes of something.

        :raises Exception: as it does.
        """
        outcome: list[_T] = []
        errors: list[Failure] = []
        asked.addCallbacks(outcome.append, errors.append)
        self.until(lambda: bool(outcome or errors), within)
        if errors:
            errors[0].raiseException()
        return outcome[0]

    def call(self, verb: str, value: int = 0, key: bytes = b"a", at: str = "", condition: object = None) -> object:
        """Have something done at a replica; the primary if none is named, as soon as it can. It goes into no history.

        :raises PyshardError: as a client is told.
        """
        while True:
            try:
                return self.result(self.begin(verb, value, key, at, condition))
            except NotConfigured:
                if at:
                    raise

    def begin(
        self, verb: str, value: int = 0, key: bytes = b"a", at: str = "", condition: object = None
    ) -> Deferred[object]:
        """As `call`, but nobody waits."""
        return self.clients[0].ask(at or self.state.group.primary, key, verb, value, condition)

    def written(self, within: float = 20.0) -> float:
        """Write at the primary until that is acknowledged.

        :return: seconds that it took.
        """
        began = self.clock.seconds()
        client = self.clients[1]
        while self.clock.seconds() < began + within:
            written = Deferred.fromCoroutine(client.call(b"z", "write"))
            if self.result(written) is not UNKNOWN:
                return self.clock.seconds() - began
        raise AssertionError(self.told(f"no change was acknowledged in {within} s"))

    def settle_at_rest(self) -> None:
        """Wait until members have what the primary has committed."""
        members = [self.machines[address] for address in self.state.group.members]
        self.until(lambda: len({(each.store.committed, each.store.position) for each in members}) == 1)

    def cut_off(self, address: str, *spared: str) -> None:
        """Cut one off from all ends but some, in both directions."""
        for other in self.ends():
            if other not in {address, *spared}:
                self.network.cut |= {(address, other), (other, address)}

    def ends(self) -> list[str]:
        """All ends of the network."""
        boots, clients = ([each.address for each in self.bootstraps], [each.name for each in self.clients])
        return [*self.machines, *boots, *clients]

    def until(self, holds: Callable[[], bool], within: float = 20.0) -> None:
        """Let time pass until something holds."""
        end = self.clock.seconds() + within
        while not holds() and self.clock.seconds() < end:
            self.clock.advance(0.01)
        assert holds(), self.told(f"it doesn't come true in {within} s")

    def away(self, away: bool = True) -> None:
        """Have all bootstraps be down, or up again."""
        for bootstrap in self.bootstraps:
            bootstrap.away = away
        self.clock.advance(0.6)  # until what they had begun has ended

    def swap(self, group: ReplicaGroup) -> None:
        """Have the state be the next group now."""
        self.state.swap(self.state.group, group)
