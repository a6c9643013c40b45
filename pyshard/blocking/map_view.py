"""A map as the calls of a blocking client go by it, with the pool of each shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pyshard.blocking.shard_pool import ShardPool
from pyshard.client_core.map_fetching import MapRank
from pyshard.model.cluster_state import ClusterState


@attrs.frozen
class MapView:
    """A map that calls go by.

    :param rank: how much it counts.
    :param starts: the first slot of each range, in order.
    :param owners: the pool of each range's shard.
    :param by_name: that of each shard, in the map's order.
    """

    state: ClusterState
    rank: MapRank
    starts: Sequence[int]
    owners: Sequence[ShardPool]
    by_name: Mapping[str, ShardPool]

    @property
    def pools(self) -> list[ShardPool]:
        """That of each shard, in the map's order."""
        return list(self.by_name.values())
