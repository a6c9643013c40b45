"""How many elements a document has, counted in its MessagePack before it is decoded. Pure, but for the environment.

Decoded, an element takes up to 120 bytes of memory, and as few as one byte of a record. So a document of 16 MiB of
``[{},{},…]`` took a reader more than a gigabyte.

Rules:

- the elements of a document are the items of all its lists, and the keys and values of all its dicts. A pair counts
  twice, as it takes many times as long to decode as an item of a list: its key is hashed, and found a place;
- a document with no more bytes than it may have elements isn't counted, which would only cost time: most are so small;
- to count takes no memory, and a hundredth of decoding, where there is compiled code; without it up to as long as to
  decode. What is surely too much is found in the first bytes;
- who needs larger documents can have them, by an environment variable, in all clients and the command alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from pyshard.compiled import IN_USE, messagepack_leaves
from pyshard.errors import ConfigError, shown_value
from pyshard.settings import settings

#: The environment variable that says how many elements a document may have, where the default isn't enough.
VARIABLE = "PYSHARD_MAX_ELEMENTS"

# Whatever has a fixed length and no elements, as much of it as there is: an empty list or dict, too.
_FIXED = [
    rb"[\x00-\x80\x90\xa0\xc0\xc2\xc3\xe0-\xff]++",
    rb"\xcb.{8}",
    *(b"\\x%02x.{%d}" % (0xA0 + length, length) for length in range(1, 32)),
    rb"[\xcc\xd0].",
    rb"[\xcd\xd1\xd4]..",
    rb"\xd5.{3}",
    rb"[\xca\xce\xd2].{4}",
    rb"\xd6.{5}",
    rb"[\xcf\xd3].{8}",
    rb"\xd7.{9}",
    rb"\xd8.{17}",
]
_skip = re.compile(b"(?s:(?:%s)*+)" % b"|".join(_FIXED)).match

# First byte → how many bytes behind it have the length of what follows, and how many more there are.
_TEXTS = {
    **dict(zip((0xC4, 0xC5, 0xC6), ((1, 0), (2, 0), (4, 0)), strict=True)),  # bin
    **dict(zip((0xC7, 0xC8, 0xC9), ((1, 1), (2, 1), (4, 1)), strict=True)),  # extensions, which have a type, too
    **dict(zip((0xD9, 0xDA, 0xDB), ((1, 0), (2, 0), (4, 0)), strict=True)),  # str
}
_CONTAINERS = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def elements_fault(body: bytes | memoryview, environment: Mapping[str, str] = os.environ) -> str | None:
    """What is wrong with the number of a document's elements, and what to do; None: nothing is.

    :param body: the document, in MessagePack.
    :raises ConfigError: the environment says something that is no number.
    """
    if len(body) <= settings.MAX_ELEMENTS:
        return None
    most = most_elements(environment)
    if len(body) <= most or elements_in(body, most) <= most:
        return None
    return too_many(most)


def too_many(most: int) -> str:
    """What a document with more elements than so many is refused with."""
    return (
        f"the document has more than {most:,} elements in its lists and dicts, the most that one may have; the "
        f"environment variable {VARIABLE}=NUMBER allows more, and each takes up to 120 bytes of memory"
    )


def most_elements(environment: Mapping[str, str]) -> int:
    """How many elements a document may have: what the environment says, if it is more than the default.

    :raises ConfigError: it says something that is no number.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return settings.MAX_ELEMENTS
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ConfigError(f"environment variable {VARIABLE}: found {shown_value(text)}, expected a whole number")
    return max(settings.MAX_ELEMENTS, int(text))


def elements_in(body: bytes | memoryview, most: int) -> int:
    """How many elements a document has; of one that has more than `most`, at least one more than that.

    :param body: MessagePack; where it is cut short or none, the number doesn't mean anything.
    """
    return messagepack_leaves.elements_in(body, most) if IN_USE else elements_in_plainly(body, most)


def elements_in_plainly(body: bytes | memoryview, most: int) -> int:
    """What `elements_in` gives."""
    elements = at = 0
    while elements <= most:
        found = _skip(body, at)
        assert found is not None  # it matches nothing, too
        at = found.end()
        if at >= len(body):
            break
        head = body[at]
        at += 1
        width, more = _TEXTS.get(head, (_CONTAINERS.get(head, 0), 0))
        length = int.from_bytes(body[at : at + width], "big") if width else head & 0x0F
        if at + width > len(body):
            break
        at += width
        if head in _TEXTS:
            at += more + length
        elif width or 0x80 <= head < 0xA0:
            elements += 2 * length if head < 0x90 or head >= 0xDE else length
        else:  # what stands here is cut short, or no MessagePack
            break
    return elements
