"""Pairs of a key and a document, as a bulk write is given them, and their columns. Pure."""

from __future__ import annotations

from typing import TypeAlias

from pyshard.compiled import IN_USE, column_leaves
from pyshard.errors import InvalidArgument, shown_value
from pyshard.model.key_slots import Key

_Pair: TypeAlias = tuple[Key, object]


def columns_of_pairs(given: list[_Pair]) -> tuple[list[Key], list[object]]:
    """The keys and the documents of some pairs.

    :raises InvalidArgument: there is something among them that is no pair.
    """
    found = pair_columns(given)
    if found is None:
        pairs = [checked_pair(pair) for pair in given]
        found = [key for key, _ in pairs], [document for _, document in pairs]
    return found


def pair_columns_plainly(pairs: list[_Pair]) -> tuple[list[Key], list[object]] | None:
    """The first and the second ones of some pairs; None: they aren't all tuples of two."""
    if not list(map(type, pairs)).count(tuple) == len(pairs) == list(map(len, pairs)).count(2):
        return None
    return [key for key, _ in pairs], [document for _, document in pairs]


pair_columns = column_leaves.pair_columns if IN_USE else pair_columns_plainly


def checked_pair(pair: _Pair) -> _Pair:
    """What a caller gave as a pair, as a tuple.

    :raises InvalidArgument: it is none.
    """
    if type(pair) is tuple and len(pair) == 2:
        return pair
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InvalidArgument(f"pairs: found {shown_value(pair)}, expected pairs of a key and a document")
    return pair[0], pair[1]
