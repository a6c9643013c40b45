"""What benchmarks/ stores: the shapes of documents, and the draws of YCSB."""

from __future__ import annotations

from collections import Counter
from random import Random

import corpus
import pytest
import workload
import ycsb
import zipf
from shapes import FLAT, MIX, SHAPES, Shape

from pyshard.model import document_encoding

#: The least and the most bytes that a document of each shape takes as it is stored.
_SIZES = {
    "int": (1, 15),
    "str": (15, 35),
    "flat": (85, 95),
    "nested": (90, 130),
    "page": (3900, 4250),
    "wide": (450, 700),
    "unicode": (300, 600),
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes(shape: Shape) -> None:
    """Every document of a shape has about the same size, is another one by number and version, and can be stored."""
    least, most = _SIZES[shape.name]
    for number in range(0, 100_000, 997):
        record, _ = document_encoding.encode(shape.make(number, 3))
        assert least <= len(record) <= most
        assert document_encoding.decode(record) == shape.make(number, 3)
    assert len({str(shape.make(number, version)) for number in range(10) for version in range(10)}) == 100
    assert len({shape.key(number) for number in range(1000)}) == 1000


def test_what_shapes_hold() -> None:
    """A nested row has a list and a dict, a page headers and links, a wide row 40 fields."""
    found = {shape.name: shape.make(1, 1) for shape in SHAPES}
    assert [type(value) for value in found.values()] == [int, str, *[dict] * 5]
    nested, page, wide = found["nested"], found["page"], found["wide"]
    assert isinstance(nested, dict)
    assert {list, dict} <= {type(value) for value in nested.values()}
    assert isinstance(page, dict)
    assert (type(page["headers"]), type(page["links"])) == (dict, list)
    assert isinstance(wide, dict)
    assert len(wide) == 40


def test_mix_has_all_shapes_alike() -> None:
    """All shapes together: as many documents of each as of the others, under keys that no shape by itself has."""
    found = Counter(
        shape.name for number in range(700) for shape in SHAPES if MIX.make(number, 2) == shape.make(number, 2)
    )
    assert found == {shape.name: 100 for shape in SHAPES}
    assert len({shape.key(5) for shape in [*SHAPES, MIX]}) == len(SHAPES) + 1


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
    calls = list(FLAT.parts(25, 1, 10))
    assert [len(call) for call in calls] == [10, 10, 5]
    assert [pair for call in calls for pair in call] == [
        (FLAT.key(number), FLAT.make(number, 1)) for number in range(25)
    ]


def test_random_order() -> None:
    """Every document as often as the others, as far as that goes; the same for the same seed."""
    found = corpus.some(10, 25, 3)
    assert set(Counter(found).values()) == {2, 3}
    assert found == corpus.some(10, 25, 3)
    assert found != corpus.some(10, 25, 4)


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


@pytest.mark.parametrize(
    ("letter", "reads", "writes", "both"),
    [("a", 0.5, 0.5, 0), ("b", 0.95, 0.05, 0), ("c", 1, 0, 0), ("d", 0.95, 0.05, 0), ("f", 0.5, 0, 0.5)],
)
def test_mixes(letter: str, reads: float, writes: float, both: float) -> None:
    """Each mix of YCSB has its shares of reads, writes, and reads with a write behind."""
    (mix,) = (one for one in ycsb.MIXES if one.letter == letter)
    drawn = ycsb.calls(mix, 1000, 20_000, Random(5), 5000)
    found = Counter((call.reads, call.writes) for call in drawn)
    shares = [found[kind] / len(drawn) for kind in ((True, False), (False, True), (True, True))]
    assert shares == pytest.approx([reads, writes, both], abs=0.01)
    old = {call.number for call in drawn if not mix.insert or call.reads}
    assert old <= set(range(1000)) | set(range(5000, 7000))


def test_latest() -> None:
    """In mix D inserts have numbers of their own, in order, and what is read most is what was written last."""
    (mix,) = (one for one in ycsb.MIXES if one.latest)
    drawn = ycsb.calls(mix, 1000, 20_000, Random(5), 5000)
    inserts = [call.number for call in drawn if call.writes]
    assert inserts == list(range(5000, 5000 + len(inserts)))
    newest, hits, there = 999, 0, set(range(1000))
    for call in drawn:
        if call.writes:
            newest = call.number
            there.add(newest)
        else:
            assert call.number in there
            hits += call.number == newest
    share = 1 / zipf.zeta(1000)
    assert hits / (len(drawn) - len(inserts)) == pytest.approx(share, rel=0.1)


def test_latest_before_ones_own() -> None:
    """In mix D, behind what a thread has inserted itself, comes what was the newest before."""
    (mix,) = (one for one in ycsb.MIXES if one.latest)
    found = Counter[int]()
    for seed in range(20_000):
        first, second = ycsb.calls(mix, 10, 2, Random(seed), 5000)
        if first.writes and not second.writes:
            found[second.number] += 1
    assert [number for number, _ in found.most_common(3)] == [5000, 9, 8]


def test_popular_documents_are_scattered() -> None:
    """In the other mixes the most popular document is not the first one, and gets the first rank's share."""
    (mix,) = (one for one in ycsb.MIXES if one.letter == "c")
    found = Counter(call.number for call in ycsb.calls(mix, 1000, 20_000, Random(5), 5000))
    ((number, hits),) = found.most_common(1)
    assert number == zipf.scattered(0, 1000) != 0
    assert hits / 20_000 == pytest.approx(1 / zipf.zeta(1000), rel=0.1)


def test_wrong_versions_are_noticed() -> None:
    """YCSB's readers take any version that can be there, and nothing else."""
    ycsb.check_read([7, 7], [corpus.user(7, 0), corpus.user(7, 4)], 4)
    for wrong in (None, corpus.user(7, 5), corpus.user(8, 0), 7):
        with pytest.raises(workload.WrongValue, match="user7"):
            ycsb.check_read([7], [wrong], 4)
