"""Moves of ranges as the bootstrap tells operators of them: JSON (docs/protocol.md, "ListMoves"). Pure.

Rule: names and reasons are cut, and numbers have bounds, so that whatever a bootstrap lists can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import BadRequest, of_peer
from pyshard.model.bounded_json import decode_json
from pyshard.model.range_moves import Amount, Count, Phase
from pyshard.settings import settings

#: Moves that a list has at the most: those of the state, and as many that have ended of late.
_MOST = 2 * settings.MAX_MOVES

#: Seconds in which a move comes no further before that is told.
_LONG = 60

#: Bytes of the numbers of moves in MessagePack, each of which takes up to 9.
_LONGEST_NUMBERS = 5 + 9 * settings.MAX_MOVES

_Hash = Annotated[float, msgspec.Meta(ge=0, le=1)]

_decode_numbers = msgspec.msgpack.Decoder(Annotated[list[Count], msgspec.Meta(max_length=settings.MAX_MOVES)]).decode


@attrs.frozen
class ListedMove:
    """A move as operators see it.

    :param number: the move's.
    :param source: the name of the shard that gives.
    :param target: the name of the shard that takes.
    :param ranges: pairs of hashes, ``[start, end)``.
    :param phase: how far it is.
    :param over: whether it is done with: nothing is left to do, on either side.
    :param paused: whether an operator has it wait.
    :param attempt: the number of its last seal; 0: there was none.
    :param why: why it was cancelled, or its last seal taken back.
    :param seconds: since it was begun, or how long it took if it is over.
    :param copies: how often its copy has begun.
    :param refetched: how many buckets of rows differed from what the source has, and were fetched again.
    :param documents: documents of the copy that the target has.
    :param size: bytes of all that it was given for the copy.
    :param expected: bytes that the copy will have, more or less; 0: it isn't known yet.
    :param rate: bytes of the copy in a second, of late.
    :param bytes_behind: bytes of changes that the target lacks, as far as it knows.
    :param seconds_behind: seconds since it was even with the source last; None: it never was.
    :param stalled: seconds for which it has come no further, though the source answers.
    :param pause: seconds for which the slots were sealed in the end; None: that isn't known yet.
    :param error: why it doesn't go on just now; empty: it does.
    """

    number: Count
    source: str
    target: str
    ranges: Annotated[Sequence[tuple[_Hash, _Hash]], msgspec.Meta(max_length=settings.MAX_SHARD_RANGES)]
    phase: Phase
    over: bool = False
    paused: bool = False
    attempt: Count = 0
    why: str = ""
    seconds: Amount = 0.0
    copies: Count = 0
    refetched: Count = 0
    documents: Count = 0
    size: Count = 0
    expected: Count = 0
    rate: Amount = 0.0
    bytes_behind: Count = 0
    seconds_behind: Amount | None = None
    stalled: Amount = 0.0
    pause: Amount | None = None
    error: str = ""

    @property
    def stall(self) -> str:
        """That it has come no further for long, in words; empty: it has, or that isn't told yet."""
        if self.stalled < _LONG or self.over:
            return ""
        return (
            f"it has come no further for {self.stalled:.0f} s, though the source answers; it is cancelled after "
            f"{settings.MOVE_STALLS:.0f} s"
        )


def encode_listed_moves(moves: Sequence[ListedMove]) -> bytes:
    """The moves as JSON."""
    return msgspec.json.encode(list(moves))


def decode_listed_moves(text: bytes) -> list[ListedMove]:
    """The moves in a JSON text.

    :raises BadRequest: it can't be read, or has more than a cluster may have.
    """
    moves = decode_json(text, list[ListedMove], "moves: found what can't be read")
    if len(moves) > _MOST:
        raise BadRequest(f"moves: found {len(moves):,}, expected at most {_MOST:,}")
    return [
        attrs.evolve(
            move,
            source=of_peer(move.source, settings.MAX_NAME),
            target=of_peer(move.target, settings.MAX_NAME),
            why=of_peer(move.why),
            error=of_peer(move.error),
        )
        for move in moves
    ]


def decode_move_numbers(data: bytes) -> list[int]:
    """The numbers of moves that were planned, in MessagePack (docs/protocol.md, "ApplyConfig").

    :raises BadRequest: these are none, or more than a cluster may have.
    """
    try:
        if len(data) <= _LONGEST_NUMBERS:
            return _decode_numbers(data)
    except msgspec.DecodeError:
        pass
    raise BadRequest("the numbers of moves that the bootstrap answered can't be read")
