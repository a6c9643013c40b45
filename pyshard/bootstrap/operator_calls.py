"""What operators ask for and a bootstrap has to wait for, as for shards that aren't ready: some at a time. Pure.

Each looks again and again whether it can go on, for seconds. So thousands of them would leave no time for the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pyshard.errors import Overloaded
from pyshard.settings import settings


class OperatorCalls:
    """Those under way. One address has at most half of what the others leave free."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @contextmanager
    def one_of(self, origin: str) -> Iterator[None]:
        """Count one while it is under way.

        :param origin: the address that it comes from.
        :raises Overloaded: there are as many as there may be.
        """
        own = self._of[origin]
        if own >= settings.MAX_OPERATOR_CALLS - self._of.total():
            raise Overloaded(f"{own} such changes from this address are under way; make one at a time")
        self._of[origin] += 1
        try:
            yield
        finally:
            self._of[origin] -= 1
            self._of += Counter()  # without those that have none
