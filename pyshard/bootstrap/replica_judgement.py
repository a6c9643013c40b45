"""Judges who answers at the address of a shard, or of a replica of it. Pure.

Rules, beside those of `pyshard.bootstrap.bootstrap`:

- one store is one replica: what answers at two addresses is refused at the second;
- another store at a replica's address makes it a learner, whose copy comes from the primary;
- the last one that has what was acknowledged isn't replaced by another durable store. An operator decides that.
"""

from __future__ import annotations

from pyshard.bootstrap.bootstrap import check_greeting, judge
from pyshard.errors import WrongIdentity
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import StoreId
from pyshard.model.shard_map import MapShard
from pyshard.protocol.greeting import Greeting


def identity_at(own: MapShard, address: str) -> str:
    """The id of the store that a shard has at an address; empty: none was seen there."""
    return own.stores.get(address, "")


def judge_at(state: ClusterState, own: MapShard, address: str, greeting: Greeting) -> ClusterState:
    """The state by which who answered at an address of a shard is to be configured.

    :return: `state`, or the next one, which knows the store.
    :raises ForeignCluster, WrongIdentity, StaleEpoch: it may not be; the message says why and what to do.
    """
    group = own.group
    if group is None:
        return judge(state, own, greeting)
    check_greeting(state, own, address, greeting)
    place = group.at(address)
    if place is None:
        raise WrongIdentity(f"shard {own.name!r} has no replica at {address} any more")
    elsewhere = [other for other, identity in own.stores.items() if identity == greeting.identity]
    if elsewhere not in ([], [address]):
        raise WrongIdentity(
            f"the replica at {address} is the one at {elsewhere[0]} already; give each an address of its own"
        )
    store = StoreId(greeting.identity, greeting.incarnation)
    known = place.store
    last = address == group.primary and not group.others
    if last and known is not None and known.identity != store.identity and place.durable and own.ranges:
        raise WrongIdentity(
            f"the store at {address} is {store.identity}, but the documents of shard {own.name!r} are in store "
            f"{known.identity}, which no other replica has yet; start the replica with its own data"
        )
    changed = group.with_store(address, store, durable=not greeting.ephemeral)
    return state if changed is group else state.with_group(own.name, changed)
