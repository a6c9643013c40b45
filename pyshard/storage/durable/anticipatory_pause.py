"""When a large group may be committed while others ask for small things: anticipatory scheduling. Pure.

The idea is that of disks (S. Iyer, P. Druschel, "Anticipatory scheduling", 2001). A client that asks one thing at a
time has nothing waiting in the moment in which it is answered, but it asks again soon. A writer that began the next
large group at once would have it wait for a whole large group each time.

Rules:

- after a large group, if others have asked something meanwhile, the next large one waits;
- it waits for as long as somebody asks again within a short window, and for some times as long as the last one took at
  the most, so that large groups always go on;
- where nobody else asks anything, no large group waits at all;
- the caller may say for how many times as long, such as fewer where others ask only now and then.
"""

from __future__ import annotations

#: Seconds in which a client that was answered asks again; a busy machine makes it late.
WINDOW = 0.002

_TIMES = 3  # how many times as long as a large group took the next one may wait: a quarter of the time is theirs


class AnticipatoryPause:
    """Whether the next large group waits. All times are in seconds of one clock.

    :param times: how many times as long as a large group took the next one may wait.
    :param window: seconds in which a client that was answered asks again.
    """

    def __init__(self, times: float = _TIMES, window: float = WINDOW) -> None:
        self._times = times
        self._window = window
        self._ended = self._took = 0.0  # when the last large group was done, and how many seconds it took
        self._look_at = 0.0  # until then somebody may ask again
        self._seen = self._begun = 0  # what was asked when that was looked at last, and at the last `begin`

    def begin(self, asked: int) -> bool:
        """Note that a large group is begun.

        :param asked: how many small things others have asked for, ever.
        :return: whether they have asked for any since the large group before.
        """
        others = asked != self._begun
        self._seen = self._begun = asked
        return others

    def end(self, began: float, ended: float) -> None:
        """Note that the large group is done."""
        self._took = max(0.0, ended - began)
        self._ended = self._look_at = ended

    def remaining(self, asked: int, now: float, waits: bool = False, times: float | None = None) -> float:
        """Seconds for which the next large group is to wait yet, if nobody asks anything meanwhile; 0: begin it.

        :param asked: as of `begin`.
        :param waits: whether somebody waits for the answer to something small just now.
        :param times: how many times as long as the last one took it may wait; None: as many as ever.
        """
        until = self._ended + (self._times if times is None else times) * self._took
        if waits:
            return max(0.0, until - now)
        if asked != self._seen:
            self._seen, self._look_at = asked, now + self._window
        return max(0.0, min(self._look_at, until) - now)
