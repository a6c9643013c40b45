"""What follows when a shard refuses to answer for an index."""

from __future__ import annotations

import pytest

from pyshard.client_core.document_count import DocumentCount
from pyshard.client_core.index_walk_refusals import PAUSE, OutsideRange, Refusals
from pyshard.client_core.key_cursor import KeyCursor
from pyshard.errors import BadRequest, IndexNotFound, PyshardError, ShardBehind, Unavailable, WrongShard
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardRange

END = 10.0
WHOLE = ShardRange("a", 0, SLOTS, 1, "127.0.0.1", 1)


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


def test_a_count_that_goes_beyond_the_range() -> None:
    """It would leave out other shards' documents."""
    count, own = DocumentCount(""), ShardRange("a", 0, 100, 1, "127.0.0.1", 1)
    with pytest.raises(OutsideRange, match=r"shard 'a' goes beyond its range.*to slot 101"):
        count.take({"end": 101, "documents": 7}, own)
    assert (count.slot, count.documents) == (0, 0)
    assert count.take({"end": 100, "documents": 7}, own) == 7


def test_a_count_goes_from_shard_to_shard() -> None:
    """It adds up, and goes on where it was, by the epoch of the newer map."""
    count = DocumentCount("pages")
    assert count.question(3) == {"epoch": 3, "index": "pages", "slot": 0}
    assert count.take({"end": 100, "documents": 7}, WHOLE) == 7
    assert (count.question(4)["slot"], count.ended) == (100, False)
    assert count.take({"end": SLOTS, "documents": 5}, WHOLE) == 12
    assert count.ended


@pytest.mark.parametrize(
    "answer", [{"end": 100, "documents": 1}, {"end": 99, "documents": 1}, {"end": 101, "documents": -1}]
)
def test_a_count_that_leads_nowhere(answer: dict[str, int]) -> None:
    """A bad shard can't keep a client counting for ever."""
    count = DocumentCount("")
    count.take({"end": 100, "documents": 7}, WHOLE)
    with pytest.raises(BadRequest, match="leads nowhere"):
        count.take(answer, WHOLE)
    assert (count.slot, count.documents) == (100, 7)
