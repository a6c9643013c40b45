"""The pure parts of benchmarks/: the figures, the draws and the documents. What runs: tests/functional."""

from __future__ import annotations

from collections import Counter
from random import Random

import corpus
import measure
import pytest
import zipf
from measure import Round, Sample

from pyshard import documents


def test_ratio_and_spread() -> None:
    """A ratio is our rate over the peer's, round by round; the spread is median, least and most of them."""
    rounds = [
        Round(Sample(100, 1.0, 0.5), Sample(100, 2.0, 0.1)),  # 2
        Round(Sample(100, 1.0, 0.5), Sample(100, 4.0, 0.1)),  # 4
        Round(Sample(100, 2.0, 0.5), Sample(100, 1.0, 0.4)),  # 0.5
    ]
    found = measure.outcome(rounds)
    assert found.ratio == measure.Spread(2.0, 0.5, 4.0)
    assert (found.ours, found.peers) == (100.0, 50.0)
    assert found.our_cpu == pytest.approx(1.5 / 300 * 1e6)
    assert found.peers_cpu == pytest.approx(0.6 / 300 * 1e6)


def test_spread_of_nothing() -> None:
    """No figure has no median."""
    with pytest.raises(ValueError, match="at least one"):
        measure.spread([])


def test_bytes_per_document() -> None:
    """What servers had before doesn't count."""
    assert measure.per_document(1000, 21_000, 100) == 200.0


def test_zeta() -> None:
    """The sum that the zipfian distribution is normed by."""
    assert zipf.zeta(1) == 1.0
    assert zipf.zeta(3, 1.0) == pytest.approx(1 + 1 / 2 + 1 / 3)


def test_zipfian_frequencies() -> None:
    """Each rank comes as often as its share, 1 / rank ** 0.99 of the sum, says: exactly so for the first two."""
    count, draws = 1000, 200_000
    source = zipf.Zipfian(count, Random(7))
    found = Counter(source.draw() for _ in range(draws))
    assert set(found) <= set(range(count))
    total = zipf.zeta(count)
    for rank in (0, 1):
        assert found[rank] / draws == pytest.approx(1 / (rank + 1) ** zipf.THETA / total, rel=0.05)
    for begin, end in ((2, 10), (10, 100), (100, 1000)):  # Gray's approximation is close, not exact
        share = sum(1 / (rank + 1) ** zipf.THETA for rank in range(begin, end)) / total
        assert sum(found[rank] for rank in range(begin, end)) / draws == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_zipfian_of_few(count: int) -> None:
    """With few ranks, all of them come and no other."""
    source = zipf.Zipfian(count, Random(7))
    assert {source.draw() for _ in range(1000)} == set(range(count))


def test_zipfian_of_none() -> None:
    """There is nothing to draw."""
    with pytest.raises(ValueError, match="at least 1"):
        zipf.Zipfian(0, Random(7))


def test_hash_is_ycsb() -> None:
    """The hash is FNV-1a, of which that of eight zero bytes is easily told; ranks are scattered below the count."""
    prime, hashed = 1_099_511_628_211, 0xCBF29CE484222325
    for _ in range(8):
        hashed = hashed * prime % 2**64
    assert zipf.fnv(0) == min(hashed, 2**64 - hashed)
    assert zipf.fnv(1) != zipf.fnv(0)
    assert all(zipf.scattered(rank, 10) in range(10) for rank in range(100))
    assert len({zipf.scattered(rank, 10**6) for rank in range(1000)}) > 990


def test_small_documents() -> None:
    """A small document takes about 90 bytes as it is stored, and differs by number and version."""
    sizes = {len(documents.encode(corpus.small(number, 3))[0]) for number in range(0, 100_000, 997)}
    assert min(sizes) >= 85
    assert max(sizes) <= 95
    assert len({str(corpus.small(number, version)) for number in range(10) for version in range(10)}) == 100


def test_other_documents() -> None:
    """A large document has 100 KiB of text, a YCSB one ten fields of a hundred characters, whatever its number."""
    for number in (0, 1, 12_345):
        large, user = corpus.large(number, 2), corpus.user(number, 2)
        assert isinstance(large, dict)
        assert isinstance(user, dict)
        assert len(str(large["text"])) == 100 * 1024
        assert [len(str(user[f"field{place}"])) for place in range(10)] == [100] * 10


def test_pairs() -> None:
    """All documents come once, so many to a call."""
    calls = list(corpus.small_pairs(25, 1, 10))
    assert [len(call) for call in calls] == [10, 10, 5]
    assert [pair for call in calls for pair in call] == [
        (corpus.key(number), corpus.small(number, 1)) for number in range(25)
    ]


def test_random_order() -> None:
    """Every document as often as the others, as far as that goes; the same for the same seed."""
    found = corpus.some(10, 25, 3)
    assert set(Counter(found).values()) == {2, 3}
    assert found == corpus.some(10, 25, 3)
    assert found != corpus.some(10, 25, 4)
