"""Whether the one that answers at a shard's address is the shard of the map. Pure."""

from __future__ import annotations

from pyshard.errors import ForeignCluster, WrongIdentity
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping
from pyshard.model.shard_map import MapShard
from pyshard.protocol.greeting import Greeting


def check_greeting(greeting: Greeting, own: MapShard, cluster: str, addresses: AddressMapping = AS_ANNOUNCED) -> None:
    """Refuse to use another daemon, a shard of another cluster, or another store.

    :param greeting: who answered.
    :param own: the shard in the map.
    :param cluster: the id of the client's cluster.
    :param addresses: where shards are dialed in place of where the map says, for messages.
    :raises WrongIdentity: a bootstrap answers there, or another store than the map says.
    :raises ForeignCluster: the shard belongs to another cluster.
    """
    at = addresses.shown(own.host, own.port)
    if greeting.role != "shard":
        raise WrongIdentity(f"a {greeting.role} answers at {at}")
    if greeting.cluster and greeting.cluster != cluster:
        raise ForeignCluster(f"the shard at {at} belongs to another cluster")
    if own.identity != greeting.identity:
        raise WrongIdentity(
            f"another store answers at {at} than the one with the documents of shard {own.name!r}; start it with its "
            "own data directory"
        )
