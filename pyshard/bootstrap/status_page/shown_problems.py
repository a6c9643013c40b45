"""What isn't well, as the page says it at its top, and how well the cluster is as a whole. Pure.

Rules:

- the state store comes first, then shards in the map's order;
- no text changes while nothing else does, so there are no seconds in it: a screen reader reads what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from pyshard.bootstrap.status_page.shown_levels import Level
from pyshard.bootstrap.status_page.shown_shards import WatchedShard
from pyshard.bootstrap.status_page.shown_state_store import WatchedStateStore

#: Problems that are shown at the most.
MOST_PROBLEMS = 10


@attrs.frozen
class Problem:
    """Something that isn't well.

    :param level: `Level.BAD` or `Level.WARN`.
    :param what: what it is, in a few words.
    :param why: the reason, in one line; empty: none is known.
    """

    level: Level
    what: str
    why: str

    def shown(self) -> dict[str, object]:
        """For JSON."""
        return {"level": self.level.value, "what": self.what, "why": self.why}


def problems_of(
    store: WatchedStateStore, shards: Iterable[WatchedShard], now: float, since: float, has_state: bool = True
) -> list[Problem]:
    """All that isn't well.

    :param now: the moment, in seconds of a steady clock.
    :param since: since when shards are watched.
    :param has_state: whether the bootstrap has a cluster state.
    """
    found = []
    if store.error:
        waits = "changes of the cluster wait, failovers too" if has_state else "this bootstrap waits for it"
        found.append(Problem(Level.BAD, "state store: away", f"{store.error}; {waits}"))
    for shard in shards:
        look, why = shard.look(now, since)
        if look.level in (Level.BAD, Level.WARN):
            found.append(Problem(look.level, f"{shard.own.name}: {look.value}", why))
    return found


def health_of(problems: Sequence[Problem], all_ready: bool) -> Level:
    """How well the cluster is.

    :param all_ready: whether all shards are ready, also those that aren't shown.
    """
    levels = {problem.level for problem in problems}
    if not all_ready or Level.BAD in levels:
        return Level.BAD
    return Level.WARN if levels else Level.GOOD
