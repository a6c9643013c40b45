"""The metrics of a shard, read out of its `stat`. docs/monitoring.md lists them."""

from __future__ import annotations

from collections.abc import Iterable

from pyshard.metrics.daemon_families import DAEMON_FAMILIES
from pyshard.metrics.family import Family, Kind, Sample, Stat, labeled, plain

#: The label of the default index, which has no name, and of all indexes that aren't counted by themselves. No index
#: has such a name.
DEFAULT, OTHERS = "(default)", "(other)"


def _operations(stat: Stat) -> Iterable[Sample]:
    for verb, outcomes in stat["verbs"].items():
        for outcome, count in outcomes.items():
            yield (verb, outcome), count


def _documents(stat: Stat) -> Iterable[Sample]:
    for name, documents in stat.get("index_documents", {}).items():
        yield (name or DEFAULT,), documents
    if stat.get("other_index_documents") is not None:
        yield (OTHERS,), stat["other_index_documents"]


def _slowed(stat: Stat) -> Iterable[Sample]:
    return [((reason,), rate) for reason, rate in stat.get("slowed_to", {}).items() if rate is not None]


def _healthy(stat: Stat) -> Iterable[Sample]:
    yield (), not stat.get("failing", False)


def _commits(stat: Stat, field: str) -> Iterable[Sample]:
    if "commits" in stat:
        yield (), stat["commits"][field]


def _replica(stat: Stat, field: str) -> Iterable[Sample]:
    if "replica" in stat:
        yield (), stat["replica"][field]


def _primary(stat: Stat) -> Iterable[Sample]:
    if "replica" in stat:
        yield (), stat["replica"]["role"] == "primary"


def _behind(stat: Stat) -> Iterable[Sample]:
    others = stat.get("replica", {}).get("others", [])
    if others:
        yield (), max(other["groups_behind"] for other in others)


def _staleness(stat: Stat) -> Iterable[Sample]:
    stale = stat.get("replica", {}).get("stale")
    if stale is not None:
        yield (), stale


def _staleness_limit(stat: Stat) -> Iterable[Sample]:
    replica = stat.get("replica", {})
    if replica and replica["role"] != "primary":
        yield (), replica["most_stale"]


SHARD_FAMILIES = (
    *DAEMON_FAMILIES,
    Family(
        "pyshard_operations_total",
        Kind.COUNTER,
        "Operations, by verb and outcome: done (whatever was found), refused.",
        _operations,
        labels=("verb", "outcome"),
    ),
    Family(
        "pyshard_batch_duration_seconds",
        Kind.HISTOGRAM,
        "From when a request is taken up to its answer, with its wait for the disk, without that for its turn: batches "
        "that only read, that change, pages of keys, of snapshots.",
        labeled("latencies"),
        "seconds",
        ("kind",),
    ),
    Family(
        "pyshard_documents",
        Kind.GAUGE,
        "Documents, by index; of many indexes the first by name, and all others together.",
        _documents,
        labels=("index",),
    ),
    Family("pyshard_stored_bytes", Kind.GAUGE, "Bytes that count against the limit.", plain("bytes"), "bytes"),
    Family("pyshard_stored_limit_bytes", Kind.GAUGE, "The limit, as the config has it.", plain("limit"), "bytes"),
    Family(
        "pyshard_expired_documents_total",
        Kind.COUNTER,
        "Documents that were removed as their time to live was over.",
        plain("expired"),
    ),
    Family("pyshard_snapshots", Kind.GAUGE, "Snapshots that are open.", plain("snapshots")),
    Family(
        "pyshard_followers", Kind.GAUGE, "Those who follow its changes, such as targets of moves.", plain("followers")
    ),
    Family(
        "pyshard_copies_begun",
        Kind.GAUGE,
        "How often a copy was begun for a replica, or a move, since it had all; of that for which it was most often.",
        plain("copies_begun"),
    ),
    Family(
        "pyshard_slowed_writers_bytes",
        Kind.GAUGE,
        "Bytes of changes a second that writers may write while they are slowed down, so that a copy ends, or a "
        "follower catches up (follower), or the disk keeps up (disk).",
        _slowed,
        "bytes",
        ("reason",),
    ),
    Family(
        "pyshard_slowed_writers_seconds_total",
        Kind.COUNTER,
        "Time for which writers were slowed down, by the same reasons.",
        labeled("slowed_seconds"),
        "seconds",
        ("reason",),
    ),
    Family("pyshard_store_healthy", Kind.GAUGE, "1 if the store takes changes, 0 if its disk fails.", _healthy),
    Family(
        "pyshard_commit_duration_seconds",
        Kind.HISTOGRAM,
        "How long group commits took: the work, the write, the sync (durable shards).",
        lambda stat: _commits(stat, "seconds"),
        "seconds",
    ),
    Family(
        "pyshard_commit_size_bytes",
        Kind.HISTOGRAM,
        "Bytes that each group of changes wrote to the log (durable shards).",
        lambda stat: _commits(stat, "bytes"),
        "bytes",
    ),
    Family(
        "pyshard_committed_updates_total",
        Kind.COUNTER,
        "Batches, and steps of the store's own work, that were committed (durable shards).",
        lambda stat: _commits(stat, "updates"),
    ),
    Family("pyshard_primary", Kind.GAUGE, "1 if it leads its shard, 0 if it follows (shards with replicas).", _primary),
    Family(
        "pyshard_members",
        Kind.GAUGE,
        "Replicas that have all documents, as this one knows it (shards with replicas).",
        lambda stat: _replica(stat, "members"),
    ),
    Family(
        "pyshard_min_replicas",
        Kind.GAUGE,
        "With fewer members it takes no changes (shards with replicas).",
        lambda stat: _replica(stat, "min_replicas"),
    ),
    Family(
        "pyshard_groups_behind",
        Kind.GAUGE,
        "Groups of changes that the slowest other replica hasn't confirmed (primaries).",
        _behind,
    ),
    Family(
        "pyshard_staleness_seconds",
        Kind.GAUGE,
        "How old the state is that it shows to reads at replicas; none while it doesn't know (members).",
        _staleness,
        "seconds",
    ),
    Family(
        "pyshard_staleness_limit_seconds",
        Kind.GAUGE,
        "With an older state it refuses these reads, and clients ask the primary (members).",
        _staleness_limit,
        "seconds",
    ),
    Family(
        "pyshard_waiting_bytes",
        Kind.GAUGE,
        "Bytes of changes that wait for the disk (durable shards).",
        plain("waiting_bytes"),
        "bytes",
    ),
    Family("pyshard_log_bytes", Kind.GAUGE, "Bytes that the log has (durable shards).", plain("log_bytes"), "bytes"),
)
