"""How soon a shard is asked again, by the bytes of its answers."""

from __future__ import annotations

from pyshard.bootstrap.answer_pace import BYTES, AnswerPace


def asked(size: int, seconds: float, every: float) -> int:
    """How often a shard is asked that answers so many bytes each time."""
    pace, found = AnswerPace(), 0
    for step in range(round(seconds / every)):
        now = 100 + step * every
        if not pace.rests(now):
            pace.answered(size, now)
            found += 1
    return found


def test_short_answers() -> None:
    """Whoever gives them is asked each time."""
    assert asked(10_000, 60, 0.05) == 1200


def test_several_who_ask() -> None:
    """They may ask at the same time."""
    pace = AnswerPace()
    pace.answered(10_000, 100.0)
    assert not pace.rests(100.0)
    pace.answered(BYTES, 100.0)
    assert (pace.rests(100.9), pace.rests(101.0)) == (True, False)


def test_long_answers() -> None:
    """No more bytes are answered in the long run than may be."""
    for size in (100_000, 512 * 1024, 4 * BYTES):
        assert 0.8 * BYTES * 60 <= size * asked(size, 60, 0.05) <= 1.1 * BYTES * 60
