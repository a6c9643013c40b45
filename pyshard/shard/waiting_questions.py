"""How many questions wait at a shard with replicas: for leases, or until all members have what they change or saw.

Rules:

- they are counted by number, whatever they ask. Each takes some dozens of objects, and Python's garbage collector looks
  at all of them, while everybody else waits. Their bytes are counted elsewhere (`pyshard.storage.uncommitted_bytes`,
  `pyshard.server.held_bytes_limit`);
- those of one address are at most half of what the others leave free. So each leaves room to the others;
- past that a question is refused before anything is done for it;
- a change counts until its group is committed, whether or not somebody still waits for the answer. So nobody gets new
  room by connecting again;
- what is answered at once isn't counted, nor what the shard asks itself.
"""

from __future__ import annotations

from pyshard.errors import Overloaded
from pyshard.settings import settings
from pyshard.storage import ITSELF, Sender


class WaitingQuestions:
    """Those of one shard.

    :param most: how many may wait.
    """

    def __init__(self, most: int = settings.MAX_WAITING_QUESTIONS) -> None:
        self._most = most
        self._total = 0
        self._of: dict[str, int] = {}  # by address

    def __len__(self) -> int:
        return self._total

    def refusal(self, sender: Sender) -> Overloaded | None:
        """Why one more is refused; None: it isn't."""
        if 2 * self._total < self._most or sender is ITSELF:  # no address has more than all
            return None
        own = self._of.get(sender.address, 0)
        if own < self._most - self._total:
            return None
        return Overloaded(
            f"{self._total:,} questions wait for this shard's replicas already, {own:,} of them from this address; "
            "try again later"
        )

    def begin(self, sender: Sender) -> None:
        """Count one that waits."""
        if sender is not ITSELF:
            self._count(sender.address, 1)

    def end(self, sender: Sender) -> None:
        """Count one no more that waited."""
        if sender is not ITSELF:
            self._count(sender.address, -1)

    def _count(self, address: str, number: int) -> None:
        self._total += number
        left = self._of[address] = self._of.get(address, 0) + number
        if not left:
            del self._of[address]
