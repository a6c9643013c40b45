"""Documents of every kind, as hypothesis strategies, and a comparison that knows all their differences."""

from __future__ import annotations

from hypothesis import strategies as st

from pyshard.model.document_encoding import Document

texts = st.text(st.characters(exclude_categories=["Cs"]))
lookalikes = st.sampled_from(["42", "nan", "NaN", "null", "true", " 1", "1 ", "{", "[x", '"', '"a"', "-Infinity", "|"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**4290, 10**4310)
    | st.integers(-(10**5000), -(10**4290))
    | st.floats()
    | texts
    | lookalikes
    | st.binary()
)
names = texts | st.sampled_from(["$bytes", "$$bytes", "$int", "$$$int", "$other"])
any_document: st.SearchStrategy[Document] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3), max_leaves=10
)


def same(left: Document, right: Document) -> bool:
    """Whether two documents are equal in value and type, order and sign included; any nan is nan."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    return type(left) is type(right) and left == right
