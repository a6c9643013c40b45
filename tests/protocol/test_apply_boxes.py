"""The boxes of `Apply`: what AMP's own machinery makes and reads."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyshard.errors import BadRequest
from pyshard.protocol.apply_boxes import (
    answers_box,
    answers_bytes,
    answers_in,
    apply_arguments,
    apply_box,
    apply_bytes,
    long_answer_bytes,
    takes_stale,
)
from pyshard.protocol.batch_answers import Answer, encode_answers
from pyshard.protocol.boxes import LONGEST_VALUE, serialize
from pyshard.protocol.commands import Apply

epochs = st.integers(0, 2**63 - 1)
lengths = st.integers(0, 200) | st.integers(LONGEST_VALUE - 1, 2 * LONGEST_VALUE + 1)


@given(epochs, lengths)
def test_the_request_is_amps(epoch: int, length: int) -> None:
    """AMP makes the same box of the command's arguments, and reads the same arguments out of it."""
    batch = bytes(length)
    box = apply_box(epoch, batch)
    assert box == Apply.question({"epoch": epoch, "batch": batch})
    assert apply_arguments(box) == (epoch, batch)
    assert Apply.arguments_in(box) == {"epoch": epoch, "batch": batch, "stale": None}


@given(epochs, lengths)
def test_the_answer_is_amps(epoch: int, length: int) -> None:
    """AMP makes the same box of the answer, and reads the same answer out of it."""
    answers = bytes(length)
    box = answers_box(epoch, answers)
    assert box == Apply.answer({"epoch": epoch, "answers": answers})
    assert answers_in(box) == answers
    assert Apply.answer_in(box) == {"epoch": epoch, "answers": answers}


@given(epochs, lengths, st.binary(min_size=1, max_size=30))
def test_whole_boxes(epoch: int, length: int, tag: bytes) -> None:
    """The bytes of a whole box are those of its dict, with command and tag behind the arguments."""
    data = bytes(length)
    asked = {**apply_box(epoch, data), b"_command": Apply.commandName, b"_ask": tag}
    assert apply_bytes(epoch, data, tag) == serialize(asked)
    assert answers_bytes(epoch, data, tag) == serialize({**answers_box(epoch, data), b"_answer": tag})


@given(
    epochs, st.integers(1, 4), st.integers(-12, 12) | st.integers(0, LONGEST_VALUE), st.binary(min_size=1, max_size=9)
)
@example(7, 1, 1, b"1")
def test_the_answer_with_a_long_record(epoch: int, chunks: int, more: int, tag: bytes) -> None:
    """It is the box of the answer as it is encoded, also where what is behind the record falls into two chunks."""
    record = bytes(max(LONGEST_VALUE + 1, chunks * LONGEST_VALUE + more))
    encoded = encode_answers([Answer([record], {})])
    assert long_answer_bytes(epoch, record, tag) == answers_bytes(epoch, encoded, tag)


@given(epochs, lengths)
def test_what_may_be_stale(epoch: int, length: int) -> None:
    """A box says that what it finds may be stale, as AMP would write it; without a word it may not."""
    batch = bytes(length)
    box = apply_box(epoch, batch, stale=True)
    assert box == Apply.question({"epoch": epoch, "batch": batch, "stale": True})
    assert apply_arguments(box) == (epoch, batch)
    asked = {**box, b"_command": Apply.commandName, b"_ask": b"1"}
    assert apply_bytes(epoch, batch, b"1", stale=True) == serialize(asked)
    assert (takes_stale(box), takes_stale(apply_box(epoch, batch))) == (True, False)
    assert not takes_stale({**box, b"stale": b"False"})
    with pytest.raises(BadRequest, match=r"^stale: found"):
        takes_stale({**box, b"stale": b"yes"})


def test_boxes_of_something_else() -> None:
    """A box without the arguments is refused, and says which one is missing."""
    with pytest.raises(BadRequest, match=r"^epoch: found nothing"):
        apply_arguments({b"batch": b"0"})
    with pytest.raises(BadRequest, match=r"^batch: found nothing"):
        apply_arguments({b"epoch": b"1"})
    with pytest.raises(BadRequest, match=r"^answers: found nothing"):
        answers_in({b"epoch": b"1"})
