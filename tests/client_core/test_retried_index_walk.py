"""What follows when a shard refuses to answer for an index."""

from __future__ import annotations

import pytest

from pyshard.client_core.key_cursor import KeyCursor
from pyshard.client_core.retried_index_walk import PAUSE, Refusals, outside
from pyshard.errors import BadRequest, IndexNotFound, Overloaded, PyshardError, ShardBehind, Unavailable, WrongShard
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard

END = 10.0
WHOLE = MapShard("a", ((0, SLOTS),), 1, "127.0.0.1", 1)


def refusals(index: str = "pages") -> Refusals:
    """A step of a walk with ten seconds from 0 on."""
    return Refusals(KeyCursor(index), END, END)


@pytest.mark.parametrize("error", [WrongShard("not mine"), ShardBehind("old map")])
def test_asked_again_until_the_deadline(error: PyshardError) -> None:
    """What may pass is waited out; the message at the end says what the shard said last."""
    step = refusals()
    step.refused(error, 0.0, 0.0, 0.0, {"pages"})
    step.refused(error, 9.0, END - PAUSE - 0.01, 0.0, {"pages"})
    with pytest.raises(Unavailable, match=f"keys .*within 10 s: {error}"):
        step.refused(error, 9.0, END - PAUSE, 0.0, {"pages"})


def test_pauses_grow_for_a_shard_that_has_too_much_to_do() -> None:
    """Up to a second. After another refusal it is asked again as soon as ever."""
    step, pauses = refusals(), list[float]()
    for error in [Overloaded("full")] * 6 + [WrongShard("not mine"), Overloaded("full")]:
        step.refused(error, 0.0, 0.0, 0.0, {"pages"})
        pauses.append(step.pause)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.1, 1.0]
    with pytest.raises(Unavailable):
        step.refused(Overloaded("full"), 9.0, 9.0, 0.0, {"pages"})


def test_a_missing_index_is_believed_by_a_newer_map() -> None:
    """A map that was asked for before a shard first said so proves nothing."""
    step, error = refusals(), IndexNotFound("no index named 'pages'")
    step.refused(error, 2.0, 2.1, 1.9, set())
    with pytest.raises(IndexNotFound):
        step.refused(error, 3.0, 3.1, 2.0, set())


def test_a_missing_index_is_not_believed_against_the_map() -> None:
    """A shard that hasn't heard of a new index yet is asked again."""
    step, error = refusals(), IndexNotFound("no index named 'pages'")
    step.refused(error, 2.0, 2.1, 2.0, {"pages"})
    step.refused(error, 3.0, 3.1, 3.0, {"pages"})
    with pytest.raises(Unavailable):
        step.refused(error, 9.9, 9.95, 9.9, {"pages"})


def test_an_answer_outside_the_ranges_is_asked_for_again() -> None:
    """By a newer map, if the shard has one, until the deadline; else the answer is broken."""
    newer = outside("the page goes beyond its range", 7, 8)
    step = refusals()
    step.refused(newer, 2.0, 2.1, 2.0, set())
    step.refused(newer, 3.0, 3.1, 3.0, set())
    with pytest.raises(Unavailable, match="within 10 s: the page goes beyond its range; it has epoch 8"):
        step.refused(newer, 9.9, 9.95, 9.9, set())
    for epoch in (6, 7):
        broken = outside("the page goes beyond its range", 7, epoch)
        assert (type(broken), str(broken)) == (BadRequest, "the page goes beyond its range")
