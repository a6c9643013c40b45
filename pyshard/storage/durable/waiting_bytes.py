"""The bytes of updates that wait for a durable shard's disk: how many may, of each address and in all. Pure.

Those of one address are at most as many as are still free. So each leaves room to the others, however much it has.
"""

from __future__ import annotations

from pyshard.errors import Overloaded


class WaitingBytes:
    """What waits.

    :param most: bytes that may wait. An update that is larger may wait alone.
    :ivar total: bytes that wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.total = 0
        self._of: dict[str, int] = {}

    def refusal(self, address: str, weight: int) -> Overloaded | None:
        """Why an address may have no more bytes wait; None: it may."""
        own = self._of.get(address, 0)
        if not self.total or own + weight <= self._most - self.total:
            return None
        return Overloaded(
            f"changes of {self.total:,} bytes wait for this shard's disk already, {own:,} of them from this address; "
            "try again later"
        )

    def add(self, address: str, weight: int) -> None:
        """Count bytes that begin to wait, or, below 0, wait no longer."""
        self.total += weight
        left = self._of[address] = self._of.get(address, 0) + weight
        if not left:
            del self._of[address]
