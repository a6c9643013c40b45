"""A shard as the page shows it: how it is, in one word, and its figures. Pure.

Rule: of several things that are wrong the worst one is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import attrs

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.status_page.shard_figures import ShardFigures
from pyshard.bootstrap.status_page.shown_levels import Level
from pyshard.bootstrap.status_page.shown_replicas import WatchedGroup
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
    FAILING_OVER = "failing over"
    FAILING = "failing"
    TOO_FEW_MEMBERS = "too few members"
    UNCONFIGURED = "not configured"
    FULL = "full"
    SLOW = "slow"
    MEMBER_MISSING = "member missing"
    NEARLY_FULL = "nearly full"
    MOVING = "moving"
    READY = "ready"

    @property
    def level(self) -> Level:
        """How bad that is."""
        return _LEVELS[self]


_LEVELS = {
    ShardLook.REFUSED: Level.BAD,
    ShardLook.DOWN: Level.BAD,
    ShardLook.FAILING_OVER: Level.BAD,
    ShardLook.FAILING: Level.BAD,
    ShardLook.TOO_FEW_MEMBERS: Level.BAD,
    ShardLook.UNCONFIGURED: Level.WARN,
    ShardLook.FULL: Level.BAD,
    ShardLook.SLOW: Level.WARN,
    ShardLook.MEMBER_MISSING: Level.WARN,
    ShardLook.NEARLY_FULL: Level.WARN,
    ShardLook.MOVING: Level.INFO,
    ShardLook.READY: Level.GOOD,
}
_ORDER = list(ShardLook)


@attrs.frozen
class WatchedShard:
    """What is known of a shard.

    :param readiness: as the bootstrap sees it.
    :param figures: what it said last; None: nothing yet.
    :param older: what it said some moments before; None: nothing.
    :param error: why its last answer couldn't be read, or didn't come; empty: it did.
    :param moves: what it has to do with moves that aren't done with, each in a few words.
    :param replicas: what is known of its replicas; None: it has none beside this one.
    """

    own: MapShard
    readiness: ShardReadiness
    figures: ShardFigures | None = None
    older: ShardFigures | None = None
    error: str = ""
    moves: tuple[str, ...] = ()
    replicas: WatchedGroup | None = None

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
        return min(self._looks(now, since), key=lambda found: _ORDER.index(found[0]))

    # ------------------------------------------------------------------ inside

    def _looks(self, now: float, since: float) -> Iterator[tuple[ShardLook, str]]:
        """All that can be said of it, each with the reason."""
        yield (ShardLook.MOVING if self.moves else ShardLook.READY), ""
        yield from self._looks_of_reach(now)
        yield from self._looks_of_members()
        figures = self.fresh(now)
        if figures is not None:
            yield from self._looks_of_figures(figures)
        elif now - since >= STALE:
            yield ShardLook.SLOW, self.error or "it doesn't say how it fares"

    def _looks_of_reach(self, now: float) -> Iterator[tuple[ShardLook, str]]:
        condition, detail = self.readiness.condition, self.readiness.detail
        replicas = self.replicas
        if replicas is not None and (why := replicas.failover(condition is Condition.READY, now)):
            yield ShardLook.FAILING_OVER, why
        elif condition is Condition.REFUSED:
            yield ShardLook.REFUSED, detail
        elif condition is Condition.UNREACHABLE:
            serves = replicas is not None and bool(replicas.others_that_can_lead())
            yield ShardLook.DOWN, f"{detail}; its members want no other primary, so it may serve" if serves else detail

    def _looks_of_members(self) -> Iterator[tuple[ShardLook, str]]:
        replicas = self.replicas
        if replicas is None or len(replicas.group.members) == len(replicas.group.replicas):
            return
        if replicas.takes_changes:
            yield ShardLook.MEMBER_MISSING, replicas.members_note
        else:
            why = f"it takes no changes: {replicas.members_note}, and min_replicas is {replicas.group.least}"
            yield ShardLook.TOO_FEW_MEMBERS, why

    def _looks_of_figures(self, figures: ShardFigures) -> Iterator[tuple[ShardLook, str]]:
        if figures.failing:
            yield ShardLook.FAILING, "its disk takes no changes"
        if not figures.epoch:
            yield ShardLook.UNCONFIGURED, "it waits for the bootstrap"
        elif not figures.serves:  # it takes on other ranges
            yield ShardLook.MOVING, ""
        used = figures.size / self.own.limit if self.own.limit else 0.0
        if used >= FULL:
            yield ShardLook.FULL, "it refuses changes that take more room"
        elif used >= NEARLY_FULL:
            yield ShardLook.NEARLY_FULL, "give it a larger limit, or another shard some of its ranges"


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
        "level": look.level.value,
        "why": why,
        "moves": list(shard.moves),
        "share": share_of(own),
        "ranges": len(own.ranges),
        "limit": own.limit,
        "durable": own.durable,
    }
    if shard.replicas is not None:
        group = shard.replicas.group
        shown |= {"members": len(group.members), "replicas": len(group.replicas)}
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
