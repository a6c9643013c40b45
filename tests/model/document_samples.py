"""Documents of every kind for tests, and a smaller limit on them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from pyshard.model import bulk_document_encoding, document_encoding, document_faults, document_size
from pyshard.model.document_encoding import Document
from pyshard.settings import Settings

texts = st.text(st.characters(exclude_categories=["Cs"]))
ints = st.integers() | st.integers(-(2**65), 2**65) | st.integers(-(2**300), 2**300)
scalars = st.none() | st.booleans() | ints | st.floats() | texts | st.binary()
trees: st.SearchStrategy[Document] = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30
)

#: Values that the quick ways take, and some beside them.
flat = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.floats() | texts

#: Flat dicts, or nearly so: other values and keys that aren't str are among them.
flat_dicts: st.SearchStrategy[Any] = st.dictionaries(texts, flat, max_size=5) | st.dictionaries(
    texts | st.integers(0, 3), flat | st.binary() | ints | st.lists(flat, max_size=2), max_size=3
)


@st.composite
def alike(draw: st.DrawFn) -> list[object]:
    """Dicts with the same names and the same types of values, as those of one source are; now and then another one."""
    kinds = draw(st.dictionaries(texts, st.sampled_from([flat, st.floats(), texts, st.integers(-5, 5)]), max_size=4))
    found: list[object] = draw(st.lists(st.fixed_dictionaries(kinds), max_size=6))
    return found + draw(st.lists(trees | flat_dicts, max_size=1))


def at_most(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let documents have at most so many bytes."""
    for module in (document_size, document_encoding, document_faults, bulk_document_encoding):
        monkeypatch.setattr(module, "settings", Settings(MAX_DOCUMENT_BYTES=size))
