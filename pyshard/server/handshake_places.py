"""The places of TLS handshakes in progress. Until a handshake is complete, its peer takes no place among those that are
served, and waits for nobody. Pure.

Rules:

- There is a bounded number of places. Whoever comes gets one: if need be another handshake ends for it.
- The address that has most of them pays, with the handshake that has taken longest. So whoever opens thousands ends its
  own.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_C = TypeVar("_C", bound=Hashable)


class HandshakePlaces(Generic[_C]):
    """The handshakes in progress of one daemon.

    :param most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._origins: dict[str | None, dict[_C, None]] = {}  # address → its handshakes, the longest one first
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, connection: _C, origin: str | None) -> _C | None:
        """Give a handshake a place.

        :param origin: the address that it comes from; None: where there is no such thing, which counts as one address.
        :return: whose place it was, to be ended; None: nobody's.
        """
        self._origins.setdefault(origin, {})[connection] = None
        self._count += 1
        if self._count <= self._most:
            return None
        payer = max(self._origins, key=lambda one: len(self._origins[one]))
        ended = next(iter(self._origins[payer]))
        self.remove(ended, payer)
        return ended

    def remove(self, connection: _C, origin: str | None) -> None:
        """Take a place back, if the connection has one."""
        own = self._origins.get(origin, {})
        if connection in own:
            del own[connection]
            self._count -= 1
            if not own:
                del self._origins[origin]

    def all(self) -> list[_C]:
        """All of them."""
        return [connection for own in self._origins.values() for connection in own]
