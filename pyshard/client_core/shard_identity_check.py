"""Whether the one that answers at a shard's address is the shard of the map. Pure."""

from __future__ import annotations

from pyshard.errors import ForeignCluster, WrongIdentity
from pyshard.model.shard_map import ShardRange
from pyshard.protocol.greeting import Greeting


def check_greeting(greeting: Greeting, own: ShardRange, cluster: str) -> None:
    """Refuse to use another daemon, a shard of another cluster, or another store.

    :param greeting: who answered.
    :param own: the shard in the map.
    :param cluster: the id of the client's cluster.
    :raises WrongIdentity: a bootstrap answers there, or another store than the map says.
    :raises ForeignCluster: the shard belongs to another cluster.
    """
    if greeting.role != "shard":
        raise WrongIdentity(f"a {greeting.role} answers at {own.address}")
    if greeting.cluster and greeting.cluster != cluster:
        raise ForeignCluster(f"the shard at {own.address} belongs to another cluster")
    if own.identity != greeting.identity:
        raise WrongIdentity(f"another store answers at {own.address} than the map says")
