"""A class of peers, as they are served: those with a role, or strangers."""

from __future__ import annotations

from typing import Generic, TypeVar

from pyshard.server.fair_queue import FairGroups
from pyshard.server.served_connection import Served

#: Seconds by which a peer that has asked little may be ahead of those that ask all the time.
CREDIT = 0.02

_S = TypeVar("_S", bound=Served)


class PeerClass(Generic[_S]):
    """The peers of one class.

    :param at_once: seconds for which they are served at once, until the reactor's next turn.
    :param in_turn: seconds for which one that waits is served.
    :ivar left: what is left of `at_once`; 0 while anybody waits.
    :ivar waiting: those that wait, by their accounts.
    """

    def __init__(self, at_once: float, in_turn: float) -> None:
        self.at_once = self.left = at_once
        self.in_turn = in_turn
        self.waiting: FairGroups[_S, str] = FairGroups(CREDIT)
