"""Moves and their numbers as a bootstrap lists them: what is taken of a hostile one's."""

from __future__ import annotations

import msgspec
import pytest

from pyshard.errors import BadRequest
from pyshard.message_texts import MAX_MESSAGE
from pyshard.model.range_moves import Phase
from pyshard.protocol.listed_moves import ListedMove, decode_listed_moves, decode_move_numbers, encode_listed_moves
from pyshard.settings import settings

MOVE = ListedMove(
    7, "a", "b", [(0.25, 0.5)], Phase.COPYING, rate=1.5, pause=0.1, seconds_behind=2.0, stalled=3.0, error="no room"
)
LARGEST = 2**63 - 1


def text_with(**changes: object) -> bytes:
    """The list of the one move, with other values in some fields."""
    return msgspec.json.encode([msgspec.to_builtins(MOVE) | changes])


def test_round_trip() -> None:
    """What is read equals what was written."""
    largest = ListedMove(LARGEST, "n" * 100, "b", [(0.0, 1.0)] * 1000, Phase.PLANNED, size=LARGEST, rate=1e15)
    moves = [MOVE, largest]
    assert decode_listed_moves(encode_listed_moves(moves)) == moves


def test_texts() -> None:
    """A name is cut to what names have, a reason to what messages have, each on one line of printable characters."""
    odd = "\x1b]0;owned\x07\u202e" + "x" * 1_000_000
    (move,) = decode_listed_moves(text_with(source=odd, target=odd, why=odd, error=odd))
    texts = [move.source, move.target, move.why, move.error]
    assert [len(text) for text in texts] == [settings.MAX_NAME] * 2 + [MAX_MESSAGE] * 2
    assert all(text.startswith(r"\x1b]0;owned\x07\u202exxx") for text in texts)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": -1},
        {"number": LARGEST + 1},
        {"size": 10**4000},
        {"documents": LARGEST + 1},
        {"bytes_behind": -1},
        {"copies": LARGEST + 1},
        {"rate": 1e300},
        {"pause": -1e300},
        {"seconds_behind": 1e16},
        {"stalled": 1e16},
        {"ranges": [[0.0, 1e300]]},
        {"ranges": [[-0.1, 0.5]]},
        {"ranges": [[0.0, 0.5]] * 1001},
        {"phase": "x" * 100_000},
        {"phase": "\x1b[2J"},
    ],
)
def test_what_no_move_has(changes: dict[str, object]) -> None:
    """A list with it is refused in one short line."""
    with pytest.raises(BadRequest, match=r"^moves: found what can't be read: ") as refused:
        decode_listed_moves(text_with(**changes))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < MAX_MESSAGE + 100


def test_ranges_without_an_end() -> None:
    """A million ranges of one move are refused before they are decoded."""
    text = text_with(ranges=[]).replace(b'"ranges":[]', b'"ranges":[' + b"[?,0]," * 1_000_000 + b"[0,0]]")
    with pytest.raises(BadRequest, match=r"found about 3,000,0.. elements"):
        decode_listed_moves(text)


def test_too_many_moves() -> None:
    """A list has twice as many as a state, and no more."""
    assert len(decode_listed_moves(encode_listed_moves([MOVE] * 2000))) == 2000
    with pytest.raises(BadRequest, match="moves: found 2,001, expected at most 2,000"):
        decode_listed_moves(encode_listed_moves([MOVE] * 2001))


def test_numbers() -> None:
    """The numbers of planned moves are as many as a state has, of the largest size."""
    numbers = [LARGEST - number for number in range(settings.MAX_MOVES)]
    assert decode_move_numbers(msgspec.msgpack.encode(numbers)) == numbers


@pytest.mark.parametrize(
    "given", [b"", b"\xc1", b"\x05", msgspec.msgpack.encode([-1]), msgspec.msgpack.encode([LARGEST + 1]), b"\x91\xa1x",
              msgspec.msgpack.encode([1] * 1001), b"\xdd\xff\xff\xff\xff" + bytes(2_000_000)],
)  # fmt: skip
def test_no_numbers(given: bytes) -> None:
    """Others, and more, are refused."""
    with pytest.raises(BadRequest, match=r"^the numbers of moves that the bootstrap answered can't be read$"):
        decode_move_numbers(given)
