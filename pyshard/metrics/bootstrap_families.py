"""The metrics of a bootstrap, read out of its `stat`. docs/monitoring.md lists them."""

from __future__ import annotations

from pyshard.metrics.daemon_families import DAEMON_FAMILIES
from pyshard.metrics.family import Family, Kind, labeled, plain

BOOTSTRAP_FAMILIES = (
    *DAEMON_FAMILIES,
    Family(
        "pyshard_shards",
        Kind.GAUGE,
        "Shards of the map, by how the bootstrap sees them: ready, unreachable, refused.",
        labeled("shards"),
        labels=("state",),
    ),
    Family(
        "pyshard_moves",
        Kind.GAUGE,
        "Moves of ranges that aren't done with, by phase.",
        labeled("moves"),
        labels=("phase",),
    ),
    Family(
        "pyshard_replicas",
        Kind.GAUGE,
        "Replicas of shards that have several, by role: primary, member, learner.",
        labeled("replicas"),
        labels=("role",),
    ),
    Family(
        "pyshard_state_store_away_seconds",
        Kind.GAUGE,
        "Seconds since the state store was of use; 0: it is. Meanwhile the cluster can't be changed.",
        lambda stat: plain("away")(stat.get("state_store", {})),
    ),
    Family("pyshard_indexes", Kind.GAUGE, "Indexes of the cluster, but for the default one.", plain("indexes")),
)
