"""MessagePack → document: what a record may hold behind its head, and nothing else. Pure.

Another client may have written what no document holds: a timestamp, an extension of its own, a map whose keys are ints.
A reader that lets such things pass would give values that can't be stored again.

Rules:

- the quick way, `quick_document`, is one call in C. It knows documents of `_LEVELS` levels, without bytes and without
  ints past 64 bits. It refuses everything else;
- the careful way, `careful_document`, takes every document, and says what is wrong with the rest, and where. It is
  taken at once for what begins as bytes or such an int (`NEEDS_CARE`);
- neither makes a dict with keys that are no str, not even of what it refuses (`pyshard.model.messagepack_faults`);
- a float of 32 bits is taken for the float that it is equal to.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Union

import msgspec

from pyshard.errors import UnreadableRecord
from pyshard.model.messagepack_faults import extension, fault_in
from pyshard.settings import settings

#: The first bytes of MessagePack that the quick way can't take.
NEEDS_CARE = frozenset([*range(0xC4, 0xCA), *range(0xD4, 0xD9)])

_LEVELS = 7  # each one more doubles the time to make the decoder, which is 4 ms

#: What code that decodes MessagePack may raise.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _quick_type() -> Any:  # a type made at run time
    scalar = bool | int | float | str | None  # msgspec takes no type that allows both str and bytes
    found: Any = scalar
    for _ in range(_LEVELS):
        found = Union[scalar, list[found], dict[str, found]]  # noqa: UP007  # made at run time
    return found


#: The document, given its MessagePack; raises one of `DECODE_ERRORS` for some documents, and for all that is none.
quick_document: Callable[[Any], Any] = msgspec.msgpack.Decoder(_quick_type()).decode

_any: Callable[[Any], Any] = msgspec.msgpack.Decoder(ext_hook=extension).decode


def careful_document(body: bytes | memoryview) -> Any:
    """The document of any MessagePack.

    :raises UnreadableRecord: it holds what no document holds; the message has the place.
    :raises Exception: one of `DECODE_ERRORS`: it is damaged.
    """
    fault = fault_in(body)
    if fault is not None:
        raise UnreadableRecord(fault)
    if len(body) <= settings.MAX_ELEMENTS or not gc.isenabled():
        return _any(body)
    gc.disable()  # it would look again and again through what is made, and find nothing: up to ten times as long
    try:
        return _any(body)
    finally:
        gc.enable()
