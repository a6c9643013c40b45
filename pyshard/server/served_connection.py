"""A connection as those see it that decide when it is served (`pyshard.server.serving_turns`)."""

from __future__ import annotations

from typing import Protocol

from pyshard.security.tokens_and_roles import Role

#: Bytes of a box that isn't taken for one that takes long before it was served.
SMALL = 16 * 1024


class Served(Protocol):
    """A connection as it is served.

    :ivar role: what the peer may do; None: it is a stranger.
    :ivar origin: what counts as the address that the peer comes from; whoever has the same shares its time.
    :ivar account: what its time is counted for: its address, or the long boxes of that; `ServingTurns` sets it.
    :ivar short_up_to: bytes of the largest box that is known to take a short time; `ServingTurns` sets it.
    :ivar replicates: it is a replica's of this shard, which asks for groups of its log and nothing else.
    :ivar moves: what brings on a move of this shard is asked over it, by an admin, and the move is under way.
    :ivar handshaking: its TLS handshake isn't complete.
    :ivar heard: when what is to be served was given to `ServingTurns.serve`, in the clock's seconds.
    """

    role: Role | None
    origin: str
    account: str
    short_up_to: int
    replicates: bool
    moves: bool
    handshaking: bool
    heard: float

    def __hash__(self) -> int: ...

    @property
    def ended(self) -> bool:
        """Whether it is lost; it may be while it is served, and has been forgotten then."""
        ...

    @property
    def has_unserved(self) -> bool:
        """Whether more has come that could be served now."""
        ...

    @property
    def unserved_bytes(self) -> int:
        """About how many bytes have come and weren't served."""
        ...

    @property
    def peer_has_ended(self) -> bool:
        """Whether the peer has ended the connection already, as far as the system tells."""
        ...

    @property
    def is_left(self) -> bool:
        """Whether the peer has ended it before all that it sent was served, as far as the system tells."""
        ...

    def end_unserved(self) -> None:
        """End it, since its peer has: what waits isn't served any more."""
        ...

    def serve_next(self) -> bool:
        """Serve one box, if there is one; whether there may be another."""
        ...

    def wait_for_turn(self) -> None:
        """Serve and read nothing until `take_turn`."""
        ...

    def wait_unread(self) -> None:
        """Serve nothing and read nothing at all until `take_turn`."""
        ...

    def take_turn(self) -> None:
        """Give what has come to `ServingTurns.serve` again, and read on."""
        ...
