"""Admission: who may connect to a daemon, and how many connections there may be, in all and from one address. Pure.

Rules:

- A connection that is served is never ended for one that comes.
- Where there are tokens, a peer that hasn't presented one yet is a *stranger*. Strangers have places of their own, so
  that they take nobody's.
- A stranger that does nothing with its place loses it to the next one.
- Before that, the address with most strangers gives a place to another address. So nobody keeps others from presenting
  their tokens by connecting again and again.
- An admin always has a place, so that the bootstrap reaches a shard that is full of clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address
from operator import itemgetter
from typing import Generic, TypeVar

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.address import IPv6Address as IPv6Peer

from pyshard.errors import TooManyConnections
from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings

_STRANGER_TIME = 1.0  # seconds after which a stranger's place may be given to another
_NETWORK = 64  # bits of an IPv6 address that name one customer's network

_UNIX = "Unix sockets"

_C = TypeVar("_C", bound=Hashable)


@attrs.frozen
class ConnectionLimits:
    """How many connections a daemon may have.

    :param total: those that serve.
    :param address: those from one address.
    :param strangers: those of peers that haven't presented a token yet, where they must.
    :param refused: those that are only told that there are too many.
    :param handshakes: those whose handshake of TLS isn't complete.
    """

    total: int = settings.MAX_CONNECTIONS
    address: int = settings.MAX_CONNECTIONS_PER_ADDRESS
    strangers: int = settings.MAX_STRANGERS
    refused: int = settings.MAX_REFUSED
    handshakes: int = settings.MAX_HANDSHAKES

    @property
    def files(self) -> int:
        """How many files the daemon must be able to have open."""
        return self.total + self.strangers + self.refused + self.handshakes + settings.OTHER_FILES

    def within(self, files: int) -> ConnectionLimits:
        """These limits, or lower ones with which a process can do that may have so many files open."""
        if files >= self.files:
            return self
        places = max(4, files - min(settings.OTHER_FILES, files // 2))
        strangers = min(self.strangers, places // 4)
        refused, handshakes = min(self.refused, places // 8), min(self.handshakes, places // 8)
        return attrs.evolve(
            self,
            total=max(1, min(self.total, places - strangers - refused - handshakes)),
            strangers=max(1, strangers),
            refused=max(1, refused),
            handshakes=max(1, handshakes),
        )


def origin_of(peer: object) -> str:
    """What counts as the one address that a peer comes from: for turns, places, bytes that are held, and snapshots.

    All addresses of an IPv6 network of 64 bits count as one, since whoever has one of them has them all. So do all
    peers of Unix sockets: they have no addresses, and whatever name one may give itself says nothing.
    """
    if isinstance(peer, IPv6Peer):
        address = IPv6Address(peer.host.partition("%")[0])
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> _NETWORK << _NETWORK)}/{_NETWORK}"
    return str(peer.host) if isinstance(peer, IPv4Address) else _UNIX


class Admission(Generic[_C]):
    """Counts the connections of one daemon.

    :param limits: how many there may be.
    :param guarded: whether peers must present a token.
    :ivar strangers: the connections of peers that haven't, and since when they have been there; the oldest first.
    """

    def __init__(self, limits: ConnectionLimits, guarded: bool) -> None:
        self.limits = limits
        self._guarded = guarded
        self._serving: set[_C] = set()
        self._origins: Counter[str] = Counter()
        self.strangers: dict[_C, float] = {}
        self._stranger_origins: dict[_C, str | None] = {}
        self._strangers_from: Counter[str | None] = Counter()

    def refusal(self, origin: str | None, now: float) -> TooManyConnections | None:
        """Why nobody more may connect from there; None: they may."""
        limits = self.limits
        if origin is not None and self._origins[origin] >= limits.address:
            return TooManyConnections(
                f"this daemon has {limits.address:,} connections from {origin} already, as many as it may from one "
                "address; use one client for all of a program, and close those that aren't needed"
            )
        if not self._guarded:
            return self._full()
        if self._crowded and self._evictable(origin, now) is None:
            return TooManyConnections(
                f"{limits.strangers:,} peers are about to present their tokens already, as many as may at a time; "
                "try again"
            )
        return None

    def evict_stranger(self, origin: str | None, now: float) -> _C | None:
        """Take the place of a stranger for one more, if there is no other.

        :param origin: where that one comes from.
        :return: whose place it was, to be ended; None: nobody's.
        """
        evicted = self._evictable(origin, now) if self._guarded and self._crowded else None
        if evicted is not None:
            self._forget_stranger(evicted)
        return evicted

    def add(self, connection: _C, origin: str | None, now: float) -> None:
        """Count a connection that was not refused."""
        if origin is not None:
            self._origins[origin] += 1
        if self._guarded:
            self.strangers[connection] = now
            self._stranger_origins[connection] = origin
            self._strangers_from[origin] += 1
        else:
            self._serving.add(connection)

    def promote(self, connection: _C, role: Role) -> TooManyConnections | None:
        """Give a stranger that has a role now a place among those that are served.

        :return: why it can't have one; None: it has.
        """
        if connection not in self._serving:
            if role is not Role.ADMIN and (refused := self._full()) is not None:
                return refused
            self._forget_stranger(connection)
            self._serving.add(connection)
        return None

    def remove(self, connection: _C, origin: str | None) -> None:
        """Forget a connection that is lost."""
        self._forget_stranger(connection)
        self._serving.discard(connection)
        if origin is not None:
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]

    @property
    def _crowded(self) -> bool:
        return len(self.strangers) >= self.limits.strangers

    def _evictable(self, origin: str | None, now: float) -> _C | None:
        """The stranger that has been there longest, if it has had its time; else of those from the heaviest address.

        :param origin: where somebody comes from; it isn't to be the heaviest itself.
        """
        oldest = next(iter(self.strangers))
        if now - self.strangers[oldest] >= _STRANGER_TIME:
            return oldest
        heaviest, most = max(self._strangers_from.items(), key=itemgetter(1))
        if most <= self._strangers_from[origin] + 1:
            return None
        return next(stranger for stranger in self.strangers if self._stranger_origins[stranger] == heaviest)

    def _forget_stranger(self, connection: _C) -> None:
        if self.strangers.pop(connection, None) is not None:
            origin = self._stranger_origins.pop(connection)
            self._strangers_from[origin] -= 1
            if not self._strangers_from[origin]:
                del self._strangers_from[origin]

    def _full(self) -> TooManyConnections | None:
        if len(self._serving) < self.limits.total:
            return None
        return TooManyConnections(
            f"this daemon has {self.limits.total:,} connections already, as many as it may; close clients that aren't "
            "needed, or give it a higher --max-connections"
        )
