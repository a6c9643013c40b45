"""MessagePack → document: what a record may hold behind its head, and nothing else. Pure.

Another client may have written what no document holds: a timestamp, an extension of its own, a map whose keys are ints.
A reader that lets such things pass would give values that can't be stored again.

Rules:

- the quick way, `quick_document`, is one call in C. It knows documents of `_LEVELS` levels, without bytes and without
  ints past 64 bits. It refuses everything else;
- the careful way, `careful_document`, takes every document, and says what is wrong with the rest, and where. It is
  taken at once for what begins as bytes or such an int (`NEEDS_CARE`);
- a float of 32 bits is taken for the float that it is equal to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Union

import msgspec

from pyshard.errors import UnreadableRecord
from pyshard.model import document_faults
from pyshard.settings import settings

#: The extension type of ints past 64 bits: two's complement, big-endian.
BIG_INT = 1

#: The first bytes of MessagePack that the quick way can't take.
NEEDS_CARE = frozenset([*range(0xC4, 0xCA), *range(0xD4, 0xD9)])

_LEVELS = 7  # each one more doubles the time to make the decoder, which is 4 ms
_SCALARS = frozenset({NoneType, bool, int, float, str, bytes})
_DOCUMENTS = _SCALARS | {list, dict}
_are_scalars = _SCALARS.issuperset
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
    if type(document) in _SCALARS or _is_container(document, 1):
        return document
    raise UnreadableRecord(document_faults.unreadable(document))


def careful_documents(bodies: Sequence[bytes]) -> list[Any]:
    """The documents of many; see `careful_document`."""
    documents = list(map(_any, bodies))
    return documents if _are_documents(documents) else list(map(careful_document, bodies))


def _is_container(value: object, depth: int) -> bool:
    """Whether a value that was decoded is a list or dict that a document can be or hold.

    :param depth: how many lists and dicts deep it is, with itself.
    """
    inner: Collection[object]
    if type(value) is dict:
        try:
            "".join(value)
        except TypeError:  # a key that is no str
            return False
        inner = value.values()
    elif type(value) is list:
        inner = value
    else:
        return False
    if depth > settings.MAX_NESTING:
        return False
    if _are_scalars(map(type, inner)):
        return True
    for one in inner:  # noqa: SIM110  # a generator would take longer than the rest
        if type(one) not in _SCALARS and not _is_container(one, depth + 1):
            return False
    return True


def _are_documents(values: Sequence[Any]) -> bool:
    """Whether values that were decoded are documents, and all that is in them.

    It goes level by level through all of them together, with calls in C.
    """
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
