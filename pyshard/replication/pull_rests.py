"""How long a member rests before it asks its primary again, where that keeps it busy without bringing it on. Pure.

Rules:

- who has groups is asked again at once. Who has none lets a question wait, and answers a few sooner at the most;
- behind more of these the member rests for a moment each time, as it serves reads meanwhile;
- a copy that is begun again is begun later each time.
"""

from __future__ import annotations

_FEW = 20  # answers in a row that come soon, and bring nothing
_REST = 0.02  # seconds behind each further one
_FIRST, _LONGEST = 0.05, 30.0  # seconds behind a copy; twice as many behind each further one


class PullRests:
    """Those of one member, at one primary."""

    def __init__(self) -> None:
        self._vain = 0  # answers in a row
        self._copies_from = 0.0  # when the next copy may be begun

    def behind_answer(self, groups: int, took: float, wait: float) -> float:
        """Seconds to rest behind an answer.

        :param groups: that it brought.
        :param took: seconds that it took.
        :param wait: seconds for which a primary that has none lets a question wait.
        """
        self._vain = 0 if groups or took >= wait / 2 else self._vain + 1
        return _REST if self._vain > _FEW else 0.0

    def before_copy(self, now: float) -> float:
        """Seconds until a copy may be begun."""
        return max(0.0, self._copies_from - now)

    def copied(self, copies: int, now: float) -> None:
        """A copy has ended, in whichever way.

        :param copies: how many were begun since the member had all.
        """
        self._copies_from = now + min(_LONGEST, _FIRST * 2.0 ** min(copies, 30))
