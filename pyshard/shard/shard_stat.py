"""What `stat` tells of a shard, with what it has counted: the source of its metrics, too (docs/protocol.md, "Stat")."""

from __future__ import annotations

from pyshard.errors import IndexNotFound, NotConfigured, ShardBehind
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard


def shard_stat(
    shard: Shard, snapshots: OpenSnapshots, followers: ServedFollowers, factory: ServerFactory
) -> dict[str, object]:
    """How the shard and its connections fare, as docs/protocol.md lists it."""
    store = shard.store
    figures = store.figures
    found = factory.described() | shard.stat() | shard.counts.described()
    found |= {
        "ready": not unready(shard, factory),
        "refusals": dict(shard.counts.refusals + factory.counts.refusals),
        "expired": figures.expired,
        "snapshots": len(snapshots),
        "followers": len(store.followers),
        **followers.writers.described(),
        **followers.late.described(),
    }
    if shard.replica is not None:
        found |= shard.replica.stat()
    if figures.disk is not None:
        found |= figures.disk.described()
    return found | _by_index(shard)


def unready(shard: Shard, factory: ServerFactory) -> str:
    """Why a shard serves nobody, in a few words; empty: it serves."""
    if factory.draining:
        return "shutting down"
    try:
        shard.taken_on()
    except NotConfigured:
        return "not configured yet"
    except ShardBehind:
        return "taking on other ranges"
    return ""


def unhealthy(shard: Shard) -> str:
    """What is wrong with a shard's store, in a few words; empty: it works."""
    disk = shard.store.figures.disk
    return "the disk takes no changes" if disk is not None and disk.failing else ""


def _by_index(shard: Shard) -> dict[str, object]:
    """How many documents each index has; of many indexes those whose names come first, and all others together."""
    if shard.assignment is None:
        return {}
    numbers = {"": DEFAULT_INDEX} | dict(sorted(shard.assignment.state.indexes.items()))
    known: dict[str, int] = {}
    others = 0
    for place, (name, number) in enumerate(numbers.items()):
        try:
            documents = shard.store.count(number)
        except IndexNotFound:  # the store takes it on just now
            continue
        if place < settings.STAT_INDEXES:
            known[name] = documents
        else:
            others += documents
    return {"index_documents": known, "other_index_documents": others}
