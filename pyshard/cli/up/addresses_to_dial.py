"""Where this machine reaches the daemons of a cluster, whose config file may announce other addresses. Pure.

Rule: a daemon is reached where it listens, if that is told by TCP; else at the address that is announced.
"""

from __future__ import annotations

from pyshard.model.address_mapping import AddressMapping, HostAndPort
from pyshard.model.config_file import ClusterConfig
from pyshard.server.listen_address import reached_at


def shards_here(cluster: ClusterConfig) -> AddressMapping:
    """Where to dial the shards from this machine, whose announced addresses lead elsewhere."""
    found = {(place.host, place.port): reached_at(place.listen) for place in cluster.places if place.listen is not None}
    return AddressMapping(
        tuple((address, here) for address, here in found.items() if here is not None and here != address)
    )


def bootstrap_here(cluster: ClusterConfig) -> HostAndPort:
    """Where to dial the bootstrap from this machine."""
    here = reached_at(cluster.bootstrap_listen) if cluster.bootstrap_listen else None
    return here or (cluster.bootstrap_host, cluster.bootstrap_port)
