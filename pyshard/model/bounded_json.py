"""JSON that a peer answered, read within bounds. Pure.

Rules:

- what has more bytes than it may have, or more elements than a document, is refused before it is decoded, since an
  element can take 50 times its bytes;
- what can't be read is a `BadRequest` in one line, whatever is wrong with it.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pyshard.errors import BadRequest, of_peer
from pyshard.settings import settings

_T = TypeVar("_T")


def decode_json(text: bytes, kind: type[_T], fault: str, most: int = settings.MAX_BOX_BYTES) -> _T:
    """The value in a JSON text.

    :param kind: its type.
    :param fault: how the message begins, if it is refused.
    :param most: bytes that it may have.
    :raises BadRequest: it is too large, or can't be read.
    """
    check_bounds(text, fault, most)
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{fault}: {of_peer(str(error))}") from None


def check_bounds(text: bytes, fault: str, most: int = settings.MAX_BOX_BYTES) -> None:
    """Refuse a JSON text that is too large; see `decode_json`.

    :raises BadRequest: it has too many bytes or elements.
    """
    if len(text) > most:
        raise BadRequest(f"{fault}: found {len(text):,} bytes, expected at most {most:,}")
    if len(text) <= settings.MAX_ELEMENTS:
        return
    elements = sum(map(text.count, (b",", b"[", b"{")))  # at the least; in texts there may be some that are none
    if elements > settings.MAX_ELEMENTS:
        raise BadRequest(f"{fault}: found about {elements:,} elements, expected at most {settings.MAX_ELEMENTS:,}")
