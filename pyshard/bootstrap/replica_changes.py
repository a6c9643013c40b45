"""What operators see of replicas, and have become of them.

Rules:

- what may be, `pyshard.replication.operator_changes` says; the change is one of the state, as all others;
- a change is for the group that was looked at: when that is another one by then, the operator is told to look again;
- to switch, the primary is told first. It says when the other one has all, and the group is changed then. If that takes
  too long, it goes on itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.group_driver import GroupDriver, HeardReport
from pyshard.bootstrap.operator_calls import OperatorCalls
from pyshard.errors import BadRequest, StaleEpoch, Unavailable, of_peer, shown_value
from pyshard.model.cluster_state import ClusterState
from pyshard.model.replica_group import ReplicaGroup
from pyshard.protocol.listed_replicas import ListedGroup, ListedReplica
from pyshard.replication.group_times import SWITCH_WITHIN
from pyshard.replication.operator_changes import promoted, without_replica

_LOOK = 0.02  # seconds between looks whether a switch can be made


class PrimaryToTell(Protocol):
    """What tells one replica that leads."""

    def switch_primary(self, replica: str) -> Deferred[None]:
        """See `QuestionedShard.switch_primary`."""
        ...


class ReplicaChanges:
    """Operators' changes of the groups of one cluster.

    :param bootstrap: has the state.
    :param clock: times switches.
    :param driver: asks replicas, and changes groups as they want it.
    :param find: gives what tells the replica of a shard at an address.
    """

    _log = Logger()

    def __init__(
        self,
        bootstrap: Bootstrap,
        clock: IReactorTime,
        driver: GroupDriver,
        find: Callable[[str, str], PrimaryToTell | None],
    ) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._driver = driver
        self._find = find
        self._calls = OperatorCalls()

    def listed(self) -> list[ListedGroup]:
        """The replicas of all shards that have some."""
        now = self._clock.seconds()
        return [
            listed_group(shard.name, shard.group, self._driver.reports(shard.name), now)
            for shard in self._bootstrap.state.map.shards
            if shard.group is not None
        ]

    async def change(self, name: str, address: str, change: str, force: bool, origin: str = "") -> None:
        """Change a group, and return when that is done.

        :param change: ``"switch"``, ``"remove"`` or ``"promote"``.
        :param origin: the address that asks for it.
        :raises BadRequest: it can't be; the message says why, and what to do.
        :raises StaleEpoch: the group has changed meanwhile.
        :raises Unavailable: the primary can't be told, or another one couldn't lead in time.
        :raises Overloaded: too many other changes are under way.
        :raises PyshardError: as `Bootstrap.change`.
        """
        with self._calls.one_of(origin):
            await self._make(name, address, change, force)

    # ------------------------------------------------------------------ inside

    async def _make(self, name: str, address: str, change: str, force: bool) -> None:
        group = self._group(name)
        if change == "switch":
            await self._switch(name, group, address)
        elif change == "remove":
            await self._change(name, group, without_replica(group, address, force))
        elif change == "promote":
            wanted = promoted(group, address, await self._driver.ask(name, group), force)
            await self._change(name, group, wanted)
        else:
            raise BadRequest(f"change: found {shown_value(change)}, expected switch, remove or promote")

    def _group(self, name: str) -> ReplicaGroup:
        shard = self._bootstrap.state.map.named(name)
        if shard is None:
            raise BadRequest(f"shard: found {shown_value(name)}, expected one of the cluster's map")
        if shard.group is None:
            raise BadRequest(
                f'shard {name!r} has no replicas; add some by the config (the documentation, "Availability")'
            )
        return shard.group

    async def _switch(self, name: str, group: ReplicaGroup, address: str) -> None:
        if address == group.primary:
            raise BadRequest(f"replica: found {address}, which leads already")
        group.switched_to(address)  # raises if it can't be anyway
        primary = self._find(name, group.primary)
        if primary is None:
            raise Unavailable(f"the primary of shard {name!r} has left the map; try again")
        if address not in await self._driver.ask(name, group):
            raise Unavailable(f"replica {address} gives no answer, so {group.primary} still leads; start it first")
        end = self._clock.seconds() + SWITCH_WITHIN
        await primary.switch_primary(address)
        while (leads := (now := self._group(name)).primary) == group.primary:
            if self._clock.seconds() >= end or address not in now.members:
                await primary.switch_primary("")
                raise Unavailable(
                    f"replica {address} hadn't all in time, so {group.primary} still leads; see 'pyshard replica list'"
                )
            await self._driver.bring_on(name)
            await deferLater(self._clock, _LOOK)
        if leads != address:
            raise StaleEpoch(f"replica {leads} leads by now; see 'pyshard replica list'")

    async def _change(self, name: str, group: ReplicaGroup, wanted: ReplicaGroup) -> None:
        def decide(state: ClusterState) -> ClusterState:
            shard = state.map.named(name)
            if shard is None or shard.group != group:
                raise StaleEpoch("the replicas have changed meanwhile; look at them again (pyshard replica list)")
            return state.with_group(name, wanted)

        await self._bootstrap.change(decide)
        self._log.info(
            "shard {shard}: by an operator: ballot {ballot}, primary {primary}, members {members}",
            shard=name,
            ballot=wanted.ballot,
            primary=wanted.primary,
            members=", ".join(sorted(wanted.members)),
        )


def listed_group(name: str, group: ReplicaGroup, heard: Mapping[str, HeardReport], now: float) -> ListedGroup:
    """The replicas of a shard as operators see them. Pure.

    :param heard: address → what each said last.
    """
    leading = heard.get(group.primary)
    replicas = []
    for replica in group.replicas:
        known = heard.get(replica.address)
        listed = ListedReplica(replica.address, group.role_of(replica.address), replica.durable)
        if known is not None:
            report = known.report
            behind = None if leading is None else max(0, leading.report.position.sequence - report.position.sequence)
            listed = ListedReplica(
                listed.address,
                listed.role,
                listed.durable,
                round(now - known.at, 3),
                known.answers,
                report.position,
                report.complete,
                behind if report.complete else None,
                of_peer(report.failed),
                report.copies,
                of_peer(report.slow),
            )
        replicas.append(listed)
    return ListedGroup(name, group.ballot, group.least, group.lease, replicas)
