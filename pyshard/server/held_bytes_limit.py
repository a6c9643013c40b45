"""How many bytes a daemon holds for its connections: boxes that were begun, and answers that weren't read. Pure.

Rules:

- All connections together hold a bounded number of bytes.
- Over the bound, the address for which most is held pays first, so that one address can't have others cut off, with
  however many connections. (`pyshard.server.connection_admission.origin_of` says what counts as one address.)
- Addresses have equal shares of the bound, and connections of one address equal shares of that. Whoever has no more
  than its share is never ended.
- Of the connections that have more, the one for which something has been held for longest is ended first.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_C = TypeVar("_C", bound=Hashable)


class HeldBytes(Generic[_C]):
    """How many bytes a daemon holds for each of its connections, and for all together.

    To set what is held for one costs the same, however many there are. Only when something must be ended are the
    addresses looked at, and the connections of one. Each end gives back more than a share, which has to come again
    before the next.

    :param most: for all together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._addresses: dict[str | None, _OriginBytes[_C]] = {}
        self.total = 0

    def update(self, connection: _C, size: int, origin: str | None = None) -> list[_C]:
        """Set what is held for a connection now; 0: nothing any more.

        :param origin: the address that it comes from; None: where there is no such thing, which counts as one address.
        :return: the connections to be ended, since all together hold too much, in this order.
        """
        self._set(connection, size, origin)
        ended = []
        while self.total > self._most:
            origin, heaviest = max(self._addresses.items(), key=_held)
            share = self._most // len(self._addresses) // len(heaviest.sizes)
            ended.append(next(one for one, held in heaviest.sizes.items() if held > share))
            self._set(ended[-1], 0, origin)
        return ended

    def _set(self, connection: _C, size: int, origin: str | None) -> None:
        address = self._addresses.get(origin)
        if address is None:
            address = self._addresses[origin] = _OriginBytes()
        change = size - address.sizes.get(connection, 0)
        address.total += change
        self.total += change
        if size:
            address.sizes[connection] = size
        else:
            address.sizes.pop(connection, None)
            if not address.sizes:
                del self._addresses[origin]


class _OriginBytes(Generic[_C]):
    """What is held for the connections from one address.

    :ivar sizes: for each of them; the one for which something has been held for longest stands first.
    """

    __slots__ = ("sizes", "total")

    def __init__(self) -> None:
        self.sizes: dict[_C, int] = {}
        self.total = 0


def _held(address: tuple[str | None, _OriginBytes[_C]]) -> int:
    return address[1].total
