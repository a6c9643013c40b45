"""Large updates that wait for a durable shard's disk: when the next one may be committed. Pure.

Rules:

- a large update leaves time to those who ask for small things meanwhile (`pyshard.storage.durable.anticipatory_pause`);
- what is asked by the sender of the last large one is none of these things;
- who waits for the answer to a small update asks as well, also once it is committed: a slow disk syncs for longer than
  a client takes to ask again. And who is answered asks again soon, unless nobody did so the last times;
- while they are held, those of others aren't begun at all. What the store has to do for itself is.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from pyshard.storage.durable.anticipatory_pause import WINDOW, AnticipatoryPause
from pyshard.storage.durable.fair_update_queue import SMALL, WaitingUpdate
from pyshard.storage.interface import ITSELF, Sender

_LOOK = 0.0005  # seconds after which it is looked again whether those who wait are answered
_MISSES = 4  # answers behind which nobody asked soon, from which on nothing is expected of the next one


class LargeGroups:
    """What is known of the large updates. All times are in seconds of one clock.

    `ask` and `answer` are called in the reactor's thread, all else in the writer's or with its lock.
    """

    def __init__(self) -> None:
        self._pause = AnticipatoryPause()
        self._asked = 0  # small things that others than the sender of the last one have asked for, or were answered
        self._committed = self._answered = 0  # groups with small updates of others
        self._answered_at = -inf  # when the last of them was
        self._misses = 0  # how many were answered since somebody asked soon behind an answer
        self._sender: Sender | None = None  # of the last one
        self._held_until = -inf

    def ask(self, sender: Sender, now: float) -> None:
        """Note that something small was asked for."""
        if sender is not self._sender:
            self._asked += 1
            if self._misses and now - self._answered_at < WINDOW:
                self._misses = 0

    def begin(self, sender: Sender) -> bool:
        """Note that one is begun.

        :return: whether others have asked for something small since the one before.
        """
        self._sender = sender
        return self._pause.begin(self._asked)

    def end(self, began: float, ended: float) -> None:
        """Note that it is done."""
        self._pause.end(began, ended)

    def commit(self, done: Iterable[WaitingUpdate[Any]]) -> bool:
        """Note that updates are committed together, after `end` if one of them is large.

        :return: whether some are small ones of others; then `answer` is to be called when they are answered.
        """
        last = self._sender
        if last is None:
            return False
        others = any(each.sender is not last and each.cost <= SMALL and each.sender.address for each in done)
        self._committed += others
        return others

    def answer(self, now: float) -> None:
        """Note that updates are about to be answered of which `commit` has said so."""
        self._answered += 1
        self._answered_at = now
        self._asked += self._misses < _MISSES
        self._misses += 1

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
        waits = self._committed != self._answered and self._misses < _MISSES
        wait = self._pause.remaining(self._asked, now, waits)
        return min(wait, _LOOK) if waits else wait
