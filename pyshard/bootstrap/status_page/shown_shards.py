"""A shard as the page shows it: how it is, in one word, and its figures. Pure.

Rule: of several things that are wrong the worst one is told.
"""

from __future__ import annotations

from enum import Enum

import attrs

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.status_page.shard_figures import ShardFigures
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard

#: Seconds after which figures are too old to be told as those of now.
STALE = 3.5

#: Parts of the limit from which on a shard is nearly full, as the alert says, and full: it refuses what is larger.
NEARLY_FULL, FULL = 0.85, 0.99


class ShardLook(Enum):
    """How a shard is, from the worst to the best."""

    REFUSED = "refused"
    DOWN = "down"
    FAILING = "failing"
    UNCONFIGURED = "not configured"
    FULL = "full"
    SLOW = "slow"
    NEARLY_FULL = "nearly full"
    MOVING = "moving"
    READY = "ready"


@attrs.frozen
class WatchedShard:
    """What is known of a shard.

    :param readiness: as the bootstrap sees it.
    :param figures: what it said last; None: nothing yet.
    :param older: what it said some moments before; None: nothing.
    :param error: why its last answer couldn't be read, or didn't come; empty: it did.
    :param moves: what it has to do with moves that aren't done with, each in a few words.
    """

    own: MapShard
    readiness: ShardReadiness
    figures: ShardFigures | None = None
    older: ShardFigures | None = None
    error: str = ""
    moves: tuple[str, ...] = ()

    def fresh(self, now: float) -> ShardFigures | None:
        """The figures, unless they are too old, or the shard can't be reached."""
        if self.readiness.condition is not Condition.READY or self.figures is None:
            return None
        return self.figures if now - self.figures.at < STALE else None

    def rate(self, now: float) -> float | None:
        """Operations a second; None: it isn't known."""
        figures = self.fresh(now)
        return None if figures is None else figures.rate_since(self.older)

    def look(self, now: float, since: float) -> tuple[ShardLook, str]:
        """How it is, and why, in one line.

        :param since: since when it is watched.
        """
        condition, detail = self.readiness.condition, self.readiness.detail
        if condition is Condition.REFUSED:
            return ShardLook.REFUSED, detail
        if condition is Condition.UNREACHABLE:
            return ShardLook.DOWN, detail
        figures = self.fresh(now)
        if figures is None:
            late = now - since >= STALE
            if late:
                return ShardLook.SLOW, self.error or "it doesn't say how it fares"
            return (ShardLook.MOVING if self.moves else ShardLook.READY), ""
        if figures.failing:
            return ShardLook.FAILING, "its disk takes no changes"
        if not figures.epoch:
            return ShardLook.UNCONFIGURED, "it waits for the bootstrap"
        used = figures.size / self.own.limit if self.own.limit else 0.0
        if used >= FULL:
            return ShardLook.FULL, "it refuses changes that take more room"
        if used >= NEARLY_FULL:
            return ShardLook.NEARLY_FULL, "give it a larger limit, or another shard some of its ranges"
        if self.moves or not figures.serves:  # it takes on other ranges
            return ShardLook.MOVING, ""
        return ShardLook.READY, ""


def share_of(shard: MapShard) -> float:
    """The part of the hash line that a shard owns."""
    return sum(end - start for start, end in shard.ranges) / SLOTS


def shown_shard(shard: WatchedShard, color: int, now: float, since: float) -> dict[str, object]:
    """A shard for JSON."""
    look, why = shard.look(now, since)
    figures, own = shard.fresh(now), shard.own
    shown: dict[str, object] = {
        "name": own.name,
        "address": own.address,
        "color": color,
        "state": look.value,
        "why": why,
        "moves": list(shard.moves),
        "share": share_of(own),
        "ranges": len(own.ranges),
        "limit": own.limit,
        "durable": own.durable,
    }
    if figures is not None:
        rate = shard.rate(now)
        shown |= {
            "epoch": figures.epoch,
            "documents": figures.documents,
            "bytes": figures.size,
            "fill": figures.size / own.limit if own.limit else 0.0,
            "rate": None if rate is None else round(rate, 1),
            "waiting": figures.waiting,
            "connected": figures.connected,
            "uptime": round(figures.uptime),
        }
    return shown
