"""What a shard's `stat` has for the page: checked and bounded, since a shard may say anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import attrs
import msgspec

from pyshard.bootstrap.questioned_shard import LONGEST_STATISTICS
from pyshard.errors import BadRequest, of_peer
from pyshard.settings import settings

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
_Name = Annotated[str, msgspec.Meta(max_length=settings.MAX_NAME)]
_ByName = Annotated[dict[_Name, _Count], msgspec.Meta(max_length=settings.STAT_INDEXES + 1)]


class _OtherFields(msgspec.Struct):
    """Another replica, as a primary tells of it."""

    address: Annotated[str, msgspec.Meta(max_length=300)]
    stale: _Seconds | None = None


class _ReplicaFields(msgspec.Struct):
    """A shard with replicas, as one of these."""

    others: Annotated[list[_OtherFields], msgspec.Meta(max_length=settings.MAX_REPLICAS)] = []


class _StatFields(msgspec.Struct):
    """The fields that are shown (docs/protocol.md, "Stat")."""

    uptime: _Seconds
    operations: _Count
    documents: _Count
    bytes: _Count
    ready: bool
    epoch: _Count = 0
    connected: _Count = 0
    waiting_bytes: _Count | None = None
    failing: bool = False
    index_documents: _ByName = {}
    replica: _ReplicaFields | None = None


_decoder = msgspec.json.Decoder(_StatFields)


@attrs.frozen
class ShardFigures:
    """What a shard said of itself at one moment.

    :param at: the moment, in seconds of a steady clock.
    :param uptime: seconds since it was started.
    :param operations: since it was started.
    :param documents: in all indexes.
    :param size: bytes that count against its limit.
    :param serves: whether it is configured, and owns what it should.
    :param epoch: that it knows; 0: none.
    :param connected: its connections.
    :param waiting: bytes of changes that wait for its disk; None: it has none.
    :param failing: whether its disk takes no changes.
    :param indexes: documents of each index, by name.
    :param stale: of a primary: address → how old the state is that another replica shows, in seconds; None: it doesn't
        know.
    """

    at: float
    uptime: float
    operations: int
    documents: int
    size: int
    serves: bool = True
    epoch: int = 0
    connected: int = 0
    waiting: int | None = None
    failing: bool = False
    indexes: Mapping[str, int] = {}
    stale: Mapping[str, float | None] = {}

    def without_names(self) -> ShardFigures:
        """What is needed of an older moment: its numbers alone."""
        return attrs.evolve(self, indexes={}, stale={})

    def rate_since(self, older: ShardFigures | None) -> float | None:
        """Operations a second since an older moment; None: that isn't known, or the shard was started in between.

        A shard that wasn't started in between has an uptime that is at least the time between.
        """
        if older is None or self.at <= older.at:
            return None
        seconds = self.at - older.at
        if self.uptime < max(older.uptime, seconds) or self.operations < older.operations:
            return None
        return (self.operations - older.operations) / seconds


def read_figures(stat: bytes, at: float) -> ShardFigures:
    """The figures in a shard's `stat`.

    :param at: when it was asked for, in seconds of a steady clock.
    :raises BadRequest: they can't be read.
    """
    if len(stat) > LONGEST_STATISTICS:
        raise BadRequest(f"what it tells has {len(stat):,} bytes, expected at most {LONGEST_STATISTICS:,}")
    try:
        found = _decoder.decode(stat)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"what it tells can't be read: {of_peer(str(error))}") from None
    return ShardFigures(
        at,
        found.uptime,
        found.operations,
        found.documents,
        found.bytes,
        found.ready,
        found.epoch,
        found.connected,
        found.waiting_bytes,
        found.failing,
        found.index_documents,
        {} if found.replica is None else {other.address: other.stale for other in found.replica.others},
    )
