"""What the shards of a cluster tell at one moment, for `pyshard top`. Pure.

Rule: what a shard tells may be anything, and of any version. What can't be read has a reason in place of figures.
So numbers have bounds: those of hundreds of digits can't be computed with.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from pyshard.blocking.daemon_reports import DaemonReport
from pyshard.errors import of_peer
from pyshard.model.range_moves import Amount, Count


class TimeHistogram(msgspec.Struct):
    """A histogram of times: how many were at most so long."""

    bounds: list[Amount] = []
    counts: list[Count] = []


class Verb(msgspec.Struct):
    """How many operations of a verb there were."""

    done: Count = 0
    refused: Count = 0


class Figures(msgspec.Struct):
    """What a shard tells, as far as it is shown (docs/protocol.md, "Stat")."""

    uptime: Amount = 0.0
    operations: Count = 0
    documents: Count = 0
    bytes: Count = 0
    connected: Count = 0
    waiting_bytes: Count | None = None
    verbs: dict[str, Verb] = {}
    latencies: dict[str, TimeHistogram] = {}


@attrs.frozen
class ShardSample:
    """One shard at one moment.

    :param limit: bytes that it may store.
    :param figures: what it told; None: nothing.
    :param error: why not.
    """

    name: str
    address: str
    limit: int
    figures: Figures | None
    error: str = ""


@attrs.frozen
class Sample:
    """All shards at one moment.

    :param at: the moment, in seconds of a clock that never goes back.
    :param epoch: the cluster's.
    :param shards: in the map's order.
    """

    at: float
    epoch: int
    shards: tuple[ShardSample, ...]


def sample(at: float, epoch: int, reports: Sequence[DaemonReport]) -> Sample:
    """What daemons told at one moment."""
    return Sample(at, epoch, tuple(_shard(one) for one in reports if one.own is not None))


def _shard(report: DaemonReport) -> ShardSample:
    assert report.own is not None
    name, address, limit = report.own.name, report.own.address, report.own.limit
    error = report.stat.get("error")
    if isinstance(error, str):
        return ShardSample(name, address, limit, None, error.removeprefix(f"{report.name} "))
    try:
        return ShardSample(name, address, limit, msgspec.convert(report.stat, Figures))
    except msgspec.ValidationError as failure:
        return ShardSample(name, address, limit, None, f"what it tells can't be read: {of_peer(str(failure))}")
