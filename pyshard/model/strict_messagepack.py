"""MessagePack → document: what a record may hold behind its head, and nothing else. Pure.

Another client may have written what no document holds: a timestamp, an extension of its own, a map whose keys are ints.
A reader that lets such things pass would give values that can't be stored again.

Rules:

- the quick way, `quick_document`, is one call in C. It knows documents of `_LEVELS` levels, without bytes and without
  ints past 64 bits. It refuses everything else;
- the careful way, `careful_document`, takes every document, and says what is wrong with the rest, and where;
- a float of 32 bits is taken for the float that it is equal to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Union

import msgspec

from pyshard.errors import UnreadableRecord
from pyshard.model import document_faults
from pyshard.settings import settings

#: The extension type of ints past 64 bits: two's complement, big-endian.
BIG_INT = 1

_LEVELS = 7  # each one more doubles the time to make the decoder, which is 4 ms
_SCALARS = frozenset({NoneType, bool, int, float, str, bytes})
_DOCUMENTS = _SCALARS | {list, dict}
_DICTS = {dict}

#: What code that decodes MessagePack may raise.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _quick_type() -> Any:  # a type made at run time
    scalar = bool | int | float | str | None  # msgspec takes no type that allows both str and bytes
    found: Any = scalar
    for _ in range(_LEVELS):
        found = Union[scalar, list[found], dict[str, found]]  # noqa: UP007  # made at run time
    return found


def _extension(code: int, data: memoryview) -> object:
    return int.from_bytes(data, "big", signed=True) if code == BIG_INT else msgspec.msgpack.Ext(code, bytes(data))


_any: Callable[[Any], Any] = msgspec.msgpack.Decoder(ext_hook=_extension).decode

#: The document, given its MessagePack; raises one of `DECODE_ERRORS` for some documents, and for all that is none.
quick_document: Callable[[Any], Any] = msgspec.msgpack.Decoder(_quick_type()).decode


def careful_document(body: bytes | memoryview) -> Any:
    """The document of any MessagePack.

    :raises UnreadableRecord: it holds what no document holds; the message has the place.
    :raises Exception: one of `DECODE_ERRORS`: it is damaged.
    """
    document = _any(body)
    if not _are_documents([document]):
        raise UnreadableRecord(document_faults.unreadable(document))
    return document


def careful_documents(bodies: Sequence[bytes]) -> list[Any]:
    """The documents of many; see `careful_document`."""
    documents = list(map(_any, bodies))
    return documents if _are_documents(documents) else list(map(careful_document, bodies))


def _are_documents(values: Sequence[Any]) -> bool:
    """Whether values that were decoded are documents, and all that is in them. It goes level by level, in C."""
    level = values
    kinds = set(map(type, level))
    for _ in range(settings.MAX_NESTING):
        if kinds <= _SCALARS:
            return True
        if not kinds <= _DOCUMENTS:
            return False
        dicts = level if kinds == _DICTS else [value for value in level if type(value) is dict]
        try:
            "".join(chain.from_iterable(dicts))
        except TypeError:  # a key that is no str
            return False
        inner: list[Iterable[Any]] = list(map(dict.values, dicts))
        if len(dicts) < len(level):
            inner += [value for value in level if type(value) is list]
        kinds = set(map(type, chain.from_iterable(inner)))
        level = () if kinds <= _SCALARS else list(chain.from_iterable(inner))
    return kinds <= _SCALARS
