"""Whether shards can give and take what a plan has move."""

from __future__ import annotations

import attrs
import pytest

from pyshard.errors import BadRequest
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.range_plan import Transfer
from pyshard.model.transfer_check import ShardLoad, bytes_in, check_transfers, documents_in, on_their_way

LOAD = ShardLoad(((0, 100), (200, 300)), 60, 6000, [[10, 20], [30, 0]], keeps=True)
EMPTY = ShardLoad((), 0, 0, [], keeps=True)
LIMITS = {"a": 10_000, "b": 10_000, "c": 4000}

A, B = StoreId("1d", "a"), StoreId("2d", "b")


@pytest.mark.parametrize(
    ("ranges", "documents"),
    [
        (((0, 100), (200, 300)), 60),
        (((0, 50),), 10),
        (((0, 25),), 5),
        (((50, 225),), 35),
        (((225, 300),), 15),
        (((100, 200),), 0),
        ((), 0),
    ],
)
def test_documents_by_the_histogram(ranges: tuple[tuple[int, int], ...], documents: float) -> None:
    """Each bar counts by the part of its slots, and bytes go with documents."""
    assert documents_in(LOAD, ranges) == documents
    assert bytes_in(LOAD, ranges) == documents * 100


def test_nothing_is_there() -> None:
    """An empty shard has nothing; a histogram with more bars than slots counts each slot once."""
    assert bytes_in(EMPTY, ((0, 100),)) == 0
    assert documents_in(ShardLoad(((5, 7),), 3, 1, [[0, 1, 0, 2]], keeps=True), ((5, 7),)) == 3


def test_room() -> None:
    """What comes to a target from all sources must fit beside what it has."""
    loads = {"a": LOAD, "b": LOAD, "c": EMPTY}
    check_transfers([Transfer("a", "c", ((0, 50),)), Transfer("b", "c", ((200, 250),))], loads, LIMITS)
    with pytest.raises(BadRequest, match="'c' has room for 4,000 bytes, and is to get about 5,000; raise its size"):
        check_transfers([Transfer("a", "c", ((50, 100),)), Transfer("b", "c", ((200, 250),))], loads, LIMITS)
    with pytest.raises(BadRequest, match="'c' has room for 0 bytes"):
        check_transfers([Transfer("a", "c", ((0, 1),))], loads | {"c": attrs.evolve(EMPTY, size=5000)}, LIMITS)
    check_transfers(
        [Transfer("a", "c", ((0, 1),))], loads | {"c": attrs.evolve(EMPTY, size=5000)}, LIMITS | {"c": 5100}
    )


def test_a_shard_that_has_left() -> None:
    """It is refused by its name, whether it was to give or to take."""
    loads = {"a": LOAD, "c": EMPTY}
    for gone in "ac":
        limits = {name: limit for name, limit in LIMITS.items() if name != gone}
        with pytest.raises(
            BadRequest, match=f"^shard '{gone}' has left the cluster meanwhile; look at the plan again$"
        ):
            check_transfers([Transfer("a", "c", ((0, 1),))], loads, limits)


def test_what_is_on_its_way() -> None:
    """Moves to a target that are planned or under way take its room, too; ended ones, and others, don't."""
    planned = RangeMove(1, "a", "c", ((0, 50),))
    copying = RangeMove(2, "b", "c", ((200, 250),), A, B, Phase.COPYING)
    ended = [RangeMove(3, "a", "c", ((60, 70),), A, B, phase) for phase in (Phase.COMMITTED, Phase.CANCELLED)]
    elsewhere = RangeMove(4, "a", "b", ((80, 90),))
    assert on_their_way([planned, copying, *ended, elsewhere], {"c"}) == [
        Transfer("a", "c", ((0, 50),)),
        Transfer("b", "c", ((200, 250),)),
    ]


def test_durability() -> None:
    """What is on a disk doesn't go to a shard in memory; the other way round it may."""
    memory = attrs.evolve(EMPTY, keeps=False)
    check_transfers([Transfer("a", "c", ((0, 50),))], {"a": attrs.evolve(LOAD, keeps=False), "c": EMPTY}, LIMITS)
    check_transfers([Transfer("a", "c", ((0, 50),))], {"a": attrs.evolve(LOAD, keeps=False), "c": memory}, LIMITS)
    with pytest.raises(BadRequest, match="'c' keeps its documents in memory, and 'a' on a disk; start"):
        check_transfers([Transfer("a", "c", ((0, 50),))], {"a": LOAD, "c": memory}, LIMITS)
