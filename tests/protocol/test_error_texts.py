"""The texts of errors in answers are bounded: whatever was refused, and however often, the answer fits into a box."""

from __future__ import annotations

from itertools import chain

import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from shard.states import STATE

from pyshard.errors import IndexNotFound
from pyshard.protocol.apply_boxes import answers_box
from pyshard.protocol.batch_answers import Answer, decode_answers, encode_answers
from pyshard.protocol.batch_operations import Has, Read, Run
from pyshard.protocol.boxes import serialize
from pyshard.protocol.error_texts import MANY, bounded
from pyshard.settings import settings
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

#: Index names that grow when they are shown: by escapes, or by more bytes for a character.
NAMES = ["x" * 100_000, "\N{LANGUAGE TAG}" * 100_000, "\N{GRINNING FACE}" * 100, "\\" * 1000, "\n" * 1000]


@pytest.mark.parametrize("name", NAMES, ids=["letters", "unprintable", "emoji", "backslashes", "line breaks"])
def test_a_batch_on_an_unknown_index(name: str) -> None:
    """Each operation of it is refused, and the answer is small all the same."""
    shard = Shard(MemoryStore("1d", lambda: 0.0), lambda: 0.0)
    result(shard.configure("low", STATE))
    run = Has(name, [b"key"] * settings.MAX_BATCH)
    data = encode_answers(result(shard.apply(7, [run])))
    assert len(data) < 1024 * 1024
    (answer,) = decode_answers(data, [run])
    assert {type(error) for error in answer.refusals().values()} == {IndexNotFound}
    assert answer.errors[0][1].startswith("there is no index")
    assert len(answer.errors) == settings.MAX_BATCH


def test_errors_of_a_batch() -> None:
    """The first texts are whole; past the bound an error keeps its code. With the largest document they fit a box."""
    texts = [f"{number:04} {'é' * 100}" for number in range(settings.MAX_BATCH - 1)]
    refused = Answer([None] * len(texts), {place: ("UNREADABLE_RECORD", text) for place, text in enumerate(texts)})
    answers = [Answer([bytes(settings.MAX_DOCUMENT_BYTES + 13)]), refused]
    runs: list[Run] = [Read("", [b"a"]), Has("", [b"a"] * len(texts))]
    data = encode_answers(answers)
    assert len(serialize(answers_box(2**63, data) | {b"_answer": b"x" * 20})) < settings.MAX_BOX_BYTES
    told = [text for _, text in decode_answers(data, runs)[1].errors.values()]
    whole = told.index(MANY)
    assert (told[:whole], set(told[whole:])) == (texts[:whole], {MANY})
    assert settings.ERROR_BYTES - 300 < sum(len(text.encode()) for text in told[:whole]) <= settings.ERROR_BYTES


errors = st.dictionaries(
    st.integers(0, 9),
    st.tuples(st.just("CODE"), st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)),
    max_size=9,
)


@given(st.lists(errors, max_size=5), st.integers(1, 60))
def test_bounded(given: list[dict[int, tuple[str, str]]], times: int) -> None:
    """No error is lost, no text is longer than 2,000 characters, and all texts but `MANY` keep within the bound."""
    found = bounded(given * times)
    assert [list(one) for one in found] == [list(one) for one in given * times]
    texts = [text for _, text in chain.from_iterable(one.values() for one in found)]
    assert max(map(len, texts), default=0) <= 2000
    assert sum(len(text.encode()) for text in texts if text != MANY) <= settings.ERROR_BYTES
