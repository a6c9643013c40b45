"""How high the versions may be that a store takes from another one, and the numbers of its groups. Pure.

A store's versions rise, and begin with the time in microseconds. It raises its own above all that it takes. So one
number of another shard that is damaged or hostile could bring them to where none is left for the next write, for good.

Rules:

- versions are at most so far ahead of the time. An honest store's are ahead of it only while it takes more than a
  million writes a second;
- so it is with the numbers of groups, of which an honest store makes far less than a million a second;
- the bound goes with the time, so that a store that was brought just below it comes away from it again;
- a clock that is wrong by years, as that of a machine without a battery, does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyshard.errors import BadRequest
from pyshard.protocol.change_groups import Change, ChangeGroup

#: Seconds that versions may be ahead of the time: a hundred years.
AHEAD = 100 * 31_557_600


def refuse_versions_ahead(versions: Iterable[int], seconds: float) -> None:
    """Refuse versions that no honest store gives.

    :param seconds: the time since 1970.
    :raises BadRequest: there is one.
    """
    highest, most = max(versions, default=0), _most(seconds)
    if highest > most:
        raise BadRequest(
            f"versions: found {highest}, expected {most} at the most, which is a hundred years ahead of this machine's "
            "clock in microseconds; the shard that gave it is damaged, or isn't to be trusted"
        )


def refuse_group_ahead(group: ChangeGroup, seconds: float) -> None:
    """The same for all versions of a group, and its number."""
    refuse_versions_ahead([group.version, *versions_of(group.changes)], seconds)
    if group.sequence > _most(seconds):
        raise BadRequest(
            f"group: found number {group.sequence}, expected {_most(seconds)} at the most; the shard that gave it is "
            "damaged, or isn't to be trusted"
        )


def _most(seconds: float) -> int:
    return int((seconds + AHEAD) * 1_000_000)


def versions_of(changes: Iterable[Change]) -> list[int]:
    """The versions of what has changed."""
    return [change.version for change in changes]
