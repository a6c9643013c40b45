"""Large updates that wait for a durable shard's disk: when the next one may be committed. Pure.

Rules:

- a large update leaves time to those who ask for small things meanwhile (`pyshard.storage.durable.anticipatory_pause`);
- what is asked by the sender of the last large one is none of these things;
- while they are held, those of others aren't begun at all. What the store has to do for itself is.
"""

from __future__ import annotations

from math import inf

from pyshard.storage.durable.anticipatory_pause import AnticipatoryPause
from pyshard.storage.interface import ITSELF, Sender


class LargeGroups:
    """What is known of the large updates. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._pause = AnticipatoryPause()
        self._asked = 0  # small things that others than the sender of the last one have asked for
        self._sender: Sender | None = None  # of the last one
        self._held_until = -inf

    def ask(self, sender: Sender) -> None:
        """Note that something small was asked for."""
        if sender is not self._sender:
            self._asked += 1

    def begin(self, sender: Sender) -> bool:
        """Note that one is begun.

        :return: whether others have asked for something small since the one before.
        """
        self._sender = sender
        return self._pause.begin(self._asked)

    def end(self, began: float, ended: float) -> None:
        """Note that it is done."""
        self._pause.end(began, ended)

    def hold(self, until: float) -> None:
        """Begin none of others until then."""
        self._held_until = until

    def is_held(self, sender: Sender, now: float) -> bool:
        """Whether those of a sender are held."""
        return now < self._held_until and sender is not ITSELF

    def comes_first(self, cost: int, least: int, now: float) -> bool:
        """Whether what the store does for itself comes before what others have waiting.

        :param cost: bytes that it takes.
        :param least: bytes of what always comes first.
        """
        return cost <= least or now < self._held_until

    def remaining(self, sender: Sender, now: float) -> float:
        """Seconds for which one is to wait yet, if nobody asks for anything meanwhile; 0: begin it."""
        if now < self._held_until:
            return 0.0 if sender is ITSELF else self._held_until - now
        return self._pause.remaining(self._asked, now)
