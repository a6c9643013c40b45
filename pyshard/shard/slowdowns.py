"""How far a shard's writers are slowed down, for what, and for how long: what operators are told of it. Pure."""

from __future__ import annotations

from math import inf

import attrs

#: For what they are: so that a follower gets all; so that the disk keeps up.
FOLLOWER, DISK = "follower", "disk"

_STANDS = 5.0  # seconds for which what was found stands: longer than from one look to the next, while somebody writes
_COUNTS = 1.0  # seconds that it counts at the most: behind them there was nobody to be slowed
_TOLD = 60.0  # seconds for which operators aren't told again


@attrs.define
class _Slowdown:
    """Of one kind.

    :ivar rate: bytes of changes that writers may write in a second; inf: as many as they like.
    :ivar at: when that was found.
    :ivar told_at: when operators were told last.
    :ivar seconds: for how long writers were slowed down in all.
    """

    rate: float = inf
    at: float = -inf
    told_at: float = -inf
    seconds: float = 0.0


class Slowdowns:
    """Those of one shard. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._kinds = {FOLLOWER: _Slowdown(), DISK: _Slowdown()}

    def note(self, kind: str, now: float, rate: float) -> bool:
        """Note what writers may write from now on; whether operators are to be told that they begin to be slowed.

        :param kind: `FOLLOWER` or `DISK`.
        :param rate: in bytes of changes a second; inf: as much as they like.
        """
        one = self._kinds[kind]
        was_slowed = one.rate != inf
        if was_slowed:
            one.seconds += min(_COUNTS, now - one.at)
        one.rate, one.at = rate, now
        if rate == inf or was_slowed or now - one.told_at < _TOLD:
            return False
        one.told_at = now
        return True

    def rate(self, kind: str, now: float) -> float:
        """What writers may write, as far as that is known yet; inf: as much as they like."""
        one = self._kinds[kind]
        return one.rate if now - one.at < _STANDS else inf

    def described(self, now: float) -> dict[str, object]:
        """For `stat`, as docs/protocol.md lists it."""
        rates = {kind: self.rate(kind, now) for kind in self._kinds}
        return {
            "slowed_to": {kind: None if rate == inf else round(rate) for kind, rate in rates.items()},
            "slowed_seconds": {kind: round(one.seconds, 3) for kind, one in self._kinds.items()},
        }
