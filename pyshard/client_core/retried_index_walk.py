"""A walk over an index, from shard to shard in slot order: what follows when a shard refuses to answer. Pure.

Rules:

- A shard that has lost the slot, isn't ready or is behind is asked again by a newer map, until the deadline.
- One that has too much to do is asked again after pauses that grow, until the deadline. It has no newer map for that.
- "No such index" is believed when a map agrees that was fetched after a shard first said so.
- A shard may have a newer map, in which its ranges are others. So an answer that goes beyond its ranges is asked for
  again by a newer map. By the same map it is a broken answer.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Protocol, TypeVar

from pyshard.errors import (
    BadRequest,
    IndexNotFound,
    NotConfigured,
    Overloaded,
    PyshardError,
    ShardBehind,
    ShuttingDown,
    Unavailable,
    WrongShard,
)
from pyshard.model.shard_map import MapShard
from pyshard.protocol.command_boxes import Command

_T_co = TypeVar("_T_co", covariant=True)


class OutsideRanges(PyshardError):
    """An answer goes beyond the ranges that the shard has by the client's map. The shard has a newer one."""


def outside(message: str, asked: int, epoch: int) -> PyshardError:
    """The error for an answer that goes beyond the ranges of its shard.

    :param asked: the epoch of the map by which the shard was asked.
    :param epoch: the shard's, as it says.
    """
    return OutsideRanges(f"{message}; it has epoch {epoch}") if epoch > asked else BadRequest(message)


#: By which a shard refuses what another one, or the same one a little later, may answer; and an answer that may have
#: come by a newer map.
FOR_NOW = (WrongShard, NotConfigured, ShardBehind, ShuttingDown, IndexNotFound, OutsideRanges, Overloaded)

#: Seconds until a shard is asked again; the longest pause for one that has too much to do.
PAUSE = 0.1
_LONGEST = 1.0


class Walk(Protocol[_T_co]):
    """What is walked for: pages of keys, or a count."""

    index: str
    slot: int

    @property
    def command(self) -> type[Command]:
        """What each shard is asked."""
        ...

    @property
    def what(self) -> str:
        """What could not be had when the deadline comes, for the message."""
        ...

    def question(self, epoch: int) -> dict[str, object]:
        """The arguments for the shard that owns the slot."""
        ...

    def took(self, own: MapShard, seconds: float) -> None:
        """Note for how long an answer of the shard `own` was awaited.

        :raises Unavailable: its answers have taken too long in all.
        """
        ...

    def take(self, answer: dict[str, Any], own: MapShard) -> _T_co:
        """Move on by an answer of the shard `own`, as the map says whose epoch the question had."""
        ...


class Refusals:
    """What became of one step of a walk so far.

    :param walk: which.
    :param seconds: the deadline of the step, from now.
    :param end: the same, in the clock's seconds.
    :ivar pause: seconds until the shard is to be asked again.
    """

    def __init__(self, walk: Walk[object], seconds: float, end: float) -> None:
        self._walk = walk
        self._seconds = seconds
        self._end = end
        self._missing_since: float | None = None
        self.pause = PAUSE
        self._longer = PAUSE  # the pause after the next refusal of a shard that has too much to do

    def refused(self, error: PyshardError, asked: float, now: float, fetched: float, known: Container[str]) -> None:
        """A shard refused; raise what the caller is to hear, unless it is to be asked again.

        :param error: one of `FOR_NOW`.
        :param asked: when it was asked.
        :param fetched: when the map was asked for that the client has.
        :param known: the indexes in that map.
        :raises IndexNotFound: there is no such index.
        :raises Unavailable: the deadline has come.
        """
        if isinstance(error, IndexNotFound):
            self._missing_since = asked if self._missing_since is None else self._missing_since
            if fetched >= self._missing_since and self._walk.index not in known:
                raise error
        self.pause = PAUSE
        if isinstance(error, Overloaded):
            self.pause, self._longer = self._longer, min(2 * self._longer, _LONGEST)
        self.check_time(error, now)

    def check_time(self, error: PyshardError, now: float) -> None:
        """Make sure that there is time for a pause, and to ask again.

        :param error: by which a shard refused.
        :raises Unavailable: there isn't.
        """
        if now + self.pause >= self._end:
            raise Unavailable(f"{self._walk.what} within {self._seconds:g} s: {error}") from None
