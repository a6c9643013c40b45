"""The replicas of one shard: who holds its documents, who leads, and under which ballot. Pure.

It is PacificA's configuration of a replica group (MSR-TR-2008-25), and a part of the cluster's state. So it changes by
one compare-and-swap at a time.

Rules:

- *members* have every acknowledged change. The *primary* is one of them. All others are *learners*;
- each change of primary or members has the next ballot. So of two changes that were made for one group, one is refused;
- whoever leads next is a member of the present group. Nobody else has all that was acknowledged;
- a replica that comes with another store, or with one that lost what it had, is no member any more: it is a learner;
- so it is with the primary, but its place is given to another member first, if there is one. Until then the group knows
  the store that it had, so that the new one can't lead;
- a replica is known by its address. One that moves is removed, and added at its new address.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from pyshard.errors import BadRequest
from pyshard.model.address_text import host_and_port
from pyshard.model.range_moves import StoreId
from pyshard.settings import settings

#: What a replica is in its group.
PRIMARY, MEMBER, LEARNER = "primary", "member", "learner"


@attrs.frozen
class MapReplica:
    """A process that holds a copy of a shard, or is to hold one.

    :param host: name or IP address at which others reach it.
    :param port: its TCP port.
    :param store: the store that answers there; None: none was seen yet. An empty incarnation: it wasn't seen yet.
    :param durable: whether that store keeps its data over a restart.
    """

    host: str
    port: int
    store: StoreId | None = None
    durable: bool = False

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return host_and_port(self.host, self.port)


@attrs.frozen
class ReplicaGroup:
    """The replicas of a shard under one ballot.

    :param ballot: the number of this configuration; each one has the next.
    :param primary: the address of the member that leads.
    :param members: the addresses of those that have every acknowledged change.
    :param replicas: all of them, and the learners, in the order of the config.
    :param least: with fewer members the shard takes no changes.
    :param lease: seconds for which a primary answers by the promise of a member. It stays as it is: a primary that
        counts by another one than its members could answer beside the next primary.
    :raises ValueError: the primary is no member, or a member no replica, or two replicas have one address, or there are
        fewer replicas than changes need.
    """

    ballot: int
    primary: str
    members: frozenset[str]
    replicas: tuple[MapReplica, ...]
    least: int = 1
    lease: float = settings.LEASE

    def __attrs_post_init__(self) -> None:
        addresses = [replica.address for replica in self.replicas]
        if self.primary not in self.members or not self.members <= set(addresses):
            raise ValueError(
                f"replicas: found the primary {self.primary} and the members {sorted(self.members)} among "
                f"{addresses}, expected the primary among the members, and these among the replicas"
            )
        if len(set(addresses)) < len(addresses):
            raise ValueError(f"replicas: found {addresses}, expected an address for each")
        if not 1 <= self.least <= len(addresses):
            raise ValueError(f"min_replicas: found {self.least}, expected 1 to {len(addresses)}, as there are replicas")

    @property
    def learners(self) -> tuple[str, ...]:
        """The addresses of those that aren't members."""
        return tuple(replica.address for replica in self.replicas if replica.address not in self.members)

    @property
    def others(self) -> frozenset[str]:
        """The members without the primary."""
        return self.members - {self.primary}

    def at(self, address: str) -> MapReplica | None:
        """The replica at an address."""
        return next((replica for replica in self.replicas if replica.address == address), None)

    def role_of(self, address: str) -> str:
        """What the replica at an address is: `PRIMARY`, `MEMBER` or `LEARNER`."""
        if address == self.primary:
            return PRIMARY
        return MEMBER if address in self.members else LEARNER

    def holds(self, address: str, store: StoreId) -> bool:
        """Whether this store is the one that the group knows at an address."""
        replica = self.at(address)
        return replica is not None and replica.store == store

    # ------------------------------------------------------------------ the next groups

    def with_member(self, address: str) -> ReplicaGroup:
        """The next group, which a learner has joined.

        :raises BadRequest: it is none.
        """
        replica = self.at(address)
        if replica is None or address in self.members or replica.store is None:
            raise BadRequest(f"replicas: found {address} to join, expected one of the learners {list(self.learners)}")
        return self._next(members=self.members | {address})

    def without_member(self, address: str) -> ReplicaGroup:
        """The next group, of which a replica is no member. It may be none already: then the ballot alone is new.

        :raises BadRequest: it is the primary.
        """
        if address == self.primary:
            raise BadRequest(f"replicas: found the primary {address} to remove; switch to another member first")
        return self._next(members=self.members - {address})

    def led_by(self, address: str) -> ReplicaGroup:
        """The next group, in which a member takes the place of a primary that is no member any more.

        :raises BadRequest: it is no other member.
        """
        self._check_other_member(address)
        return self._next(primary=address, members=self.members - {self.primary})

    def switched_to(self, address: str) -> ReplicaGroup:
        """The next group, in which another member leads, and the primary stays a member.

        :raises BadRequest: it is no other member.
        """
        self._check_other_member(address)
        return self._next(primary=address)

    def renewed(self) -> ReplicaGroup:
        """The next group, in which nothing is new but the ballot."""
        return self._next()

    def begun_anew(self, address: str) -> ReplicaGroup:
        """The next group, of one replica alone, which may not have what was acknowledged. Its documents may be lost.

        :raises BadRequest: it is none of the replicas.
        """
        if self.at(address) is None:
            raise BadRequest(f"replicas: found {address}, expected one of {self._addresses()}")
        return self._next(primary=address, members=frozenset({address}))

    def with_store(self, address: str, store: StoreId, durable: bool) -> ReplicaGroup:
        """The group when a store was seen at an address: this one if there is nothing to change yet."""
        known = self.at(address)
        if known is None or (known.store, known.durable) == (store, durable):
            return self
        same = known.store is not None and known.store.identity == store.identity and not known.store.incarnation
        if address == self.primary and known.store is not None and self.others and not same:
            return self
        replicas = tuple(
            attrs.evolve(each, store=store, durable=durable) if each.address == address else each
            for each in self.replicas
        )
        members = self.members if same else self.members - {address} | {self.primary}
        return self._next(replicas=replicas, members=members)

    def with_replicas(self, replicas: Iterable[MapReplica], least: int, lease: float) -> ReplicaGroup:
        """The group with the replicas of a config: those that come are learners.

        :param replicas: their stores are passed over.
        :param lease: another one is taken while there is one replica alone, to which nobody has promised anything.
        :raises BadRequest: the primary is to go, or a member, or the lease is another one.
        """
        if lease != self.lease and len(self.replicas) > 1:
            raise BadRequest(
                f"lease: found {lease:g} s, expected {self.lease:g}: it can't be changed while a shard has replicas. "
                "Remove them first (pyshard replica remove)"
            )
        wanted = tuple(self.at(replica.address) or replica for replica in replicas)
        addresses = {replica.address for replica in wanted}
        if gone := sorted(self.members - addresses):
            raise BadRequest(
                f"replicas: found that {gone} are to go, which are members; remove them from the group first "
                "(pyshard replica remove)"
            )
        if (wanted, least, lease) == (self.replicas, self.least, self.lease):
            return self
        return attrs.evolve(self._next(replicas=wanted, least=least), lease=lease)

    # ------------------------------------------------------------------ inside

    def _check_other_member(self, address: str) -> None:
        if address not in self.others:
            raise BadRequest(
                f"replicas: found {address} to lead, expected one of the other members {sorted(self.others)}: nobody "
                "else has all that was acknowledged"
            )

    def _addresses(self) -> list[str]:
        return [replica.address for replica in self.replicas]

    def _next(
        self,
        primary: str | None = None,
        members: frozenset[str] | None = None,
        replicas: tuple[MapReplica, ...] | None = None,
        least: int | None = None,
    ) -> ReplicaGroup:
        return ReplicaGroup(
            self.ballot + 1,
            self.primary if primary is None else primary,
            self.members if members is None else members,
            self.replicas if replicas is None else replicas,
            self.least if least is None else least,
            self.lease,
        )


def new_group(replicas: Iterable[MapReplica], least: int | None = None, lease: float = settings.LEASE) -> ReplicaGroup:
    """The first group of a shard: its first replica alone; the others are learners, and join when they have a copy.

    :param replicas: at least one, the first of which is to lead.
    :param least: None: one less than there are, at least 1.
    :param lease: see `ReplicaGroup`.
    """
    all_of_them = tuple(replicas)
    first = all_of_them[0].address
    fewest = max(1, len(all_of_them) - 1) if least is None else least
    return ReplicaGroup(1, first, frozenset({first}), all_of_them, fewest, lease)
