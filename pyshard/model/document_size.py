"""A document's size, in the original pyshard's measure, and the check of what can be stored. Pure.

Rules:

- the size is the same number on every version of Python;
- a document holds None, bool, int, float, str, bytes, and lists and dicts of them; keys of a dict are str; what is of a
  subclass of one of these counts as the plain value that it is equal to (`pyshard.model.plain_values`);
- it nests at most `settings.MAX_NESTING` deep, so one that contains itself is refused;
- one that is sure to be too large is refused before it is written out, even if it holds one huge list many times;
- the walk doesn't know where it is: `pyshard.model.document_faults` finds the place of what it refuses;
- `flat_size` is the quick way for most documents, and agrees with `DocumentWalk`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pyshard.errors import DocumentTooLarge, InvalidDocument
from pyshard.model import document_faults
from pyshard.model.plain_values import plain_key, plain_value
from pyshard.settings import settings

#: The ints that MessagePack has a form for.
SMALLEST_INT, LARGEST_INT = -(2**63), 2**64 - 1

#: Ints whose absolute value is below this have one 30-bit digit; 0 has none.
DIGIT = 2**30


def measure(document: object) -> int:
    """A document's size in the original pyshard's measure.

    For a scalar, what ``sys.getsizeof`` gave on CPython 3.6 to 3.11 with 64 bits (0 and False, for which 3.11 alone
    gave 28, count as in the versions before it):

    - None: 16; False: 24; True: 28; float: 24;
    - int: 24 and 4 for each 30-bit digit of its absolute value (0 has none);
    - str: 49 and 1 a character when all are ASCII; 73 and 1 when all are below U+0100; 74 and 2 when all are below
      U+10000; else 76 and 4;
    - bytes: 33 and 1 a byte.

    For a dict or list, the sum over its values (so 0 for an empty one). Keys count nothing.

    :raises InvalidDocument: it can't be stored; the message says why, and where in the document.
    """
    try:
        return DocumentWalk().size(document, 0)
    except InvalidDocument as error:
        raise document_faults.located(document, error) from None


class DocumentWalk:
    """One pass over a document: measures it and refuses what can't be stored.

    :ivar special: whether it holds values of subclasses, or ints that MessagePack has no form for.
    :ivar least_bytes: how many bytes the encoded document has at the least.
    """

    __slots__ = ("least_bytes", "special")

    def __init__(self) -> None:
        self.special = False
        self.least_bytes = 0

    def size(self, value: object, depth: int) -> int:
        """The size of a value.

        :param depth: how many lists and dicts it is in.
        :raises InvalidDocument: as `measure`.
        :raises DocumentTooLarge: see `check`.
        """
        kind = type(value)
        if kind is str:
            assert isinstance(value, str)
            count = len(value)
            self.least_bytes += count
            return 49 + count if value.isascii() else wide_size(value)
        if kind is int:
            assert isinstance(value, int)
            if not SMALLEST_INT <= value <= LARGEST_INT:
                self.special = True
                self.least_bytes += value.bit_length() // 8
            return 24 + 4 * ((value.bit_length() + 29) // 30)
        if kind is float:
            return 24
        if value is None:
            return 16
        if kind is bool:
            return 28 if value else 24
        if kind is dict or kind is list or kind is tuple:
            assert isinstance(value, (dict, list, tuple))
            return self._container(value, depth + 1)
        if kind is bytes:
            assert isinstance(value, bytes)
            self.least_bytes += len(value)
            return 33 + len(value)
        plain = plain_value(value)
        if plain is None:
            raise InvalidDocument("the document holds a value that can't be stored")
        self.special = True
        return self.size(plain, depth)

    def _container(self, value: dict[object, object] | list[object] | tuple[object, ...], depth: int) -> int:
        if depth > settings.MAX_NESTING:
            raise InvalidDocument(f"the document nests deeper than {settings.MAX_NESTING} levels")
        self.least_bytes += len(value)
        self.check()
        values: object = value
        if isinstance(value, dict):
            for key in value:
                if type(key) is not str:
                    self._check_keys(value)
                    break
                self.least_bytes += len(key)
            values = value.values()
        size, total = self.size, 0
        for inner in values:  # type: ignore[attr-defined]  # a list, a tuple or a dict's values
            total += size(inner, depth)
        return total

    def _check_keys(self, value: dict[object, object]) -> None:
        """Refuse keys that are no str, or become the same text."""
        self.special = True
        texts = set(map(plain_key, value))
        if None in texts or len(texts) < len(value):
            raise InvalidDocument("the document holds a dict with keys that are no texts, or twice the same one")

    def check(self) -> None:
        """Refuse a document that is too large by what was seen of it so far.

        :raises DocumentTooLarge: it is past `settings.MAX_DOCUMENT_BYTES`.
        """
        if self.least_bytes > settings.MAX_DOCUMENT_BYTES:
            raise too_large(f"more than {self.least_bytes:,}")


def too_large(found: str) -> DocumentTooLarge:
    """The error for a document of so many bytes."""
    return DocumentTooLarge(
        f"the document has {found} bytes as stored; a document has at most {settings.MAX_DOCUMENT_BYTES:,}"
    )


def flat_size(document: dict[object, object]) -> int | None:
    """The size of a flat dict, which holds only strs, small ints, floats, bools and None: of most documents.

    :return: what `measure` gives; None for any other dict, and for one that may be too large.
    """
    length = 0
    for key in document:
        if type(key) is not str:
            return None
        length += len(key)
    size = values_size(cast("dict[str, object]", document))
    return size if size is not None and size + length <= settings.MAX_DOCUMENT_BYTES else None


def values_size(document: Mapping[str, object]) -> int | None:
    """`flat_size` of a dict whose keys are known to be str, and whose size is limited elsewhere."""
    size = 0
    for value in document.values():
        kind = type(value)
        if kind is str:
            size += 49 + len(value) if value.isascii() else wide_size(value)  # type: ignore[arg-type, attr-defined]  # a str
        elif kind is int:
            if not -DIGIT < value < DIGIT:  # type: ignore[operator]  # an int
                return None
            size += 28 if value else 24
        elif kind is float:
            size += 24
        elif value is None:
            size += 16
        elif kind is bool:
            size += 28 if value else 24
        else:
            return None
    return size


def wide_size(text: str) -> int:
    """The size of a str that isn't ASCII."""
    count, widest = len(text), max(text)
    return 73 + count if widest < "\u0100" else 74 + 2 * count if widest < "\U00010000" else 76 + 4 * count
