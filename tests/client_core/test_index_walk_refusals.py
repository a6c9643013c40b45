"""What follows when a shard refuses to answer for an index."""

from __future__ import annotations

import pytest

from pyshard.client_core.index_walk_refusals import PAUSE, OutsideRange, Refusals
from pyshard.client_core.key_cursor import KeyCursor
from pyshard.errors import BadRequest, IndexNotFound, PyshardError, ShardBehind, Unavailable, WrongShard
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


def test_an_answer_outside_the_range_is_refused_by_a_newer_map() -> None:
    """The shard may have a newer map, so the client gets one first. A map that was asked for before proves nothing."""
    step, error = refusals(), OutsideRange("the page goes beyond its range")
    step.refused(error, 2.0, 2.1, 2.0, set())
    step.refused(error, 2.3, 2.4, 1.9, set())
    with pytest.raises(BadRequest, match="beyond its range") as refused:
        step.refused(error, 2.6, 2.7, 2.5, set())
    assert refused.type is BadRequest
