"""How many bytes a daemon holds for its connections: boxes that were begun, and answers that weren't read. Pure.

Rules:

- All connections together hold a bounded number of bytes.
- Over the bound, the connection that has held something for longest is ended first.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_C = TypeVar("_C", bound=Hashable)


class HeldBytes(Generic[_C]):
    """How many bytes a daemon holds for each of its connections, and for all together.

    :param most: for all together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[_C, int] = {}  # who has had something held for longest stands first
        self.total = 0

    def update(self, connection: _C, size: int) -> list[_C]:
        """Set what is held for a connection now; 0: nothing any more.

        :return: the connections to be ended, since all together hold too much; first the one that has held for longest.
        """
        self.total += size - self._sizes.get(connection, 0)
        if size:
            self._sizes[connection] = size
        else:
            self._sizes.pop(connection, None)
        ended = []
        while self.total > self._most:
            ended.append(next(iter(self._sizes)))
            self.total -= self._sizes.pop(ended[-1])
        return ended
