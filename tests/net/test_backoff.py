"""Backoff, by value."""

from __future__ import annotations

from random import Random

import pytest

from pyshard.net.backoff import Backoff, longest_between_looks, longest_pause
from pyshard.settings import settings


@pytest.mark.parametrize(
    ("failures", "expected"), [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.8), (6, 1.0), (7, 1.0), (10_000, 1.0)]
)
def test_longest_pause(failures: int, expected: float) -> None:
    """The pause doubles with each failure up to its bound, however many failures there were."""
    assert longest_pause(failures, 0.05, 1.0) == pytest.approx(expected)


def test_chance_takes_up_to_half() -> None:
    """A pause has between half and all of its longest length; the same seed gives the same pauses."""
    pauses = []
    for _ in range(2):
        backoff = Backoff(Random(7))
        backoff.failed()
        pauses.append([backoff.pause() for _ in range(1000)])
    assert pauses[0] == pauses[1]
    assert settings.RETRY_FIRST / 2 <= min(pauses[0]) < settings.RETRY_FIRST * 0.51
    assert settings.RETRY_FIRST * 0.99 < max(pauses[0]) <= settings.RETRY_FIRST


def test_reset() -> None:
    """After a success the first pause is short again."""
    backoff = Backoff(Random(0), failures=9)
    assert backoff.pause() >= settings.RETRY_LONGEST / 2
    backoff.reset()
    backoff.failed()
    assert backoff.pause() <= settings.RETRY_FIRST


def test_looks_within_a_lease() -> None:
    """Where a shard has replicas, pauses stay short, so that the next primary is found soon after it leads."""
    assert longest_between_looks(None) == longest_between_looks(60) == settings.RETRY_LONGEST
    backoff = Backoff(Random(0), failures=9, longest=longest_between_looks(1.0))
    assert 0.1 <= backoff.pause() <= 0.2
