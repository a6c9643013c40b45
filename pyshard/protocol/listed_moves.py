"""Moves of ranges as the bootstrap tells operators of them: JSON (docs/protocol.md, "ListMoves"). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from pyshard.errors import BadRequest, of_peer, plain
from pyshard.model.range_moves import Phase
from pyshard.settings import settings

#: Moves that a list has at the most: those of the state, and as many that have ended of late.
_MOST = 2 * settings.MAX_MOVES


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
    :param size: bytes of these.
    :param expected: bytes that the copy will have, more or less; 0: it isn't known yet.
    :param rate: bytes of the copy in a second, of late.
    :param bytes_behind: bytes of changes that the target lacks, as far as it knows.
    :param seconds_behind: seconds since it was even with the source last; None: it never was.
    :param pause: seconds for which the slots were sealed in the end; None: that isn't known yet.
    :param error: why it doesn't go on just now; empty: it does.
    """

    number: int
    source: str
    target: str
    ranges: Sequence[tuple[float, float]]
    phase: Phase
    over: bool = False
    paused: bool = False
    attempt: int = 0
    why: str = ""
    seconds: float = 0.0
    copies: int = 0
    refetched: int = 0
    documents: int = 0
    size: int = 0
    expected: int = 0
    rate: float = 0.0
    bytes_behind: int = 0
    seconds_behind: float | None = None
    pause: float | None = None
    error: str = ""


def encode_listed_moves(moves: Sequence[ListedMove]) -> bytes:
    """The moves as JSON."""
    return msgspec.json.encode(list(moves))


def decode_listed_moves(text: bytes) -> list[ListedMove]:
    """The moves in a JSON text.

    :raises BadRequest: it can't be read.
    """
    try:
        moves = msgspec.json.decode(text, type=list[ListedMove])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"moves: found what can't be read, {plain(str(error))}") from None
    if len(moves) > _MOST:
        raise BadRequest(f"moves: found {len(moves):,}, expected at most {_MOST:,}")
    return [attrs.evolve(move, why=of_peer(move.why), error=of_peer(move.error)) for move in moves]
