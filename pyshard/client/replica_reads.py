"""Reads at the nearest replica, of the Deferred client.

Rules:

- a shard without replicas, one of which nothing is measured yet, and one whose primary is the nearest are read at their
  primaries, as ever;
- members are dialed and measured beside, while something is read. So no read waits for a member that is away;
- members follow the map: a link to one that isn't a member any more, or has another store, is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from random import Random
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pyshard.client.replica_link import ReadsOwner, ReplicaLink
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.nearest_replica import MEASURED_EVERY, PATIENCE, NearestReplica, members_to_read_at
from pyshard.client_core.operation import Operation
from pyshard.model.shard_map import MapShard
from pyshard.net.client_endpoints import Dial
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands

_KEPT = 0.005  # seconds for which a choice counts, as it costs half as much as a read
_SOON = 0.5  # seconds until the primary is measured that has no connection yet


class PrimaryOwner(ReadsOwner, Protocol):
    """Who has the links to primaries, too."""

    def primary_connection(self, own: MapShard) -> DialedConnection | None:
        """The connection to a shard's primary; None: there is none."""
        ...

    def submit_to(self, name: str, part: BulkOperation) -> None:
        """Send a bulk operation to the primary of the shard `name`, which owns all of its keys."""
        ...


@attrs.define(eq=False)
class _ShardReads:
    """One shard.

    :param own: its place in the map.
    :param links: those to its members that don't lead, by their addresses, in any order.
    :param chosen: that to the one that is the nearest; None: it is the primary.
    :param chosen_until: until when that counts.
    """

    own: MapShard
    links: dict[str, ReplicaLink] = attrs.Factory(dict)
    nearest: NearestReplica = attrs.Factory(NearestReplica)
    chosen: ReplicaLink | None = None
    chosen_until: float = -inf


class ReplicaReads:
    """Sends reads to the nearest replica of each shard.

    :param owner: has the map, and the links to primaries.
    :param clock: times everything.
    :param dial: leads to members.
    :param random: jitter, and which of several members is taken that are as near.
    """

    def __init__(self, owner: PrimaryOwner, clock: IReactorTime, dial: Dial, random: Random) -> None:
        self._owner = owner
        self._clock = clock
        self._dial = dial
        self._random = random
        self._shards: dict[str, _ShardReads] = {}

    def submit(self, operation: Operation) -> None:
        """Have an operation on one key done, which only reads."""
        link = None if self._owner.closed else self._link(self._owner.state.map.lookup(operation.slot))
        if link is None:
            self._owner.submit(operation)
        else:
            link.submit(operation)

    def submit_to(self, name: str, part: BulkOperation) -> None:
        """Have a bulk operation done, which only reads, and whose keys the shard `name` owns."""
        own = None if self._owner.closed else self._owner.state.map.named(name)
        link = None if own is None else self._link(own)
        if link is None:
            self._owner.submit_to(name, part)
        else:
            link.submit(part)

    def update(self, shards: Sequence[MapShard]) -> None:
        """Take up a newer map."""
        known = {own.name: own for own in shards}
        for name, reads in list(self._shards.items()):
            if name in known:
                self._follow(reads, known[name])
            else:
                del self._shards[name]
                _close_all(reads)

    def close(self) -> list[Deferred[None]]:
        """End everything.

        :return: Deferreds that fire when connections are closed.
        """
        shards, self._shards = self._shards, {}
        return [closed for reads in shards.values() for closed in _close_all(reads)]

    # ------------------------------------------------------------------ inside

    def _link(self, own: MapShard) -> ReplicaLink | None:
        """The link to the member that is the nearest; None: that is the primary."""
        if own.group is None:
            return None
        reads = self._shards.get(own.name)
        if reads is None:
            reads = self._shards[own.name] = _ShardReads(own)
            self._follow(reads, own)
        now = self._clock.seconds()
        if now < reads.chosen_until:
            return reads.chosen
        primary = self._owner.primary_connection(own)
        if reads.nearest.is_due(now):
            self._measure(reads, primary, now)
        usable = [address for address, link in reads.links.items() if link.ready]
        if primary is not None:
            usable.append(own.address)
        chosen = reads.nearest.choose(usable)
        reads.chosen, reads.chosen_until = None if chosen is None else reads.links.get(chosen), now + _KEPT
        return reads.chosen

    def _follow(self, reads: _ShardReads, own: MapShard) -> None:
        """Have links to the members that there are by now."""
        reads.own, reads.chosen_until, before = own, -inf, reads.links
        members = members_to_read_at(own)
        self._random.shuffle(members)
        reads.links = {}
        for place in members:
            link = before.get(place.address)
            if link is None or link.place.identity != place.identity:
                link = self._new_link(reads, place)
            reads.links[place.address] = link
        for address, link in before.items():
            if reads.links.get(address) is not link:
                reads.nearest.lost(address)
                link.close()

    def _new_link(self, reads: _ShardReads, place: MapShard) -> ReplicaLink:
        measure, lost = partial(self._ping, reads, place.address), partial(reads.nearest.lost, place.address)
        took = partial(reads.nearest.read_took, place.address)
        return ReplicaLink(self._owner, place, self._clock, self._dial, self._random, measure, lost, took)

    def _measure(self, reads: _ShardReads, primary: DialedConnection | None, now: float) -> None:
        reads.nearest.begin(now if primary is not None else now - MEASURED_EVERY + _SOON)
        for address, link in reads.links.items():
            if link.ready and link.dialer.connection is not None:  # one that is made later is measured then
                self._ping(reads, address, link.dialer.connection)
        if primary is not None:
            self._ping(reads, reads.own.address, primary)

    def _ping(self, reads: _ShardReads, address: str, connection: DialedConnection) -> None:
        began, nearest = self._clock.seconds(), reads.nearest
        connection.call(commands.Ping, PATIENCE).addCallbacks(
            lambda _: nearest.took(address, self._clock.seconds() - began), lambda _: nearest.lost(address)
        )


def _close_all(reads: _ShardReads) -> list[Deferred[None]]:
    return [link.close() for link in reads.links.values()]
