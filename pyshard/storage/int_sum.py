"""What `increment` makes of the records of ints: the record of their sum. Pure.

Rules:

- ints are bounded, those that are given as well as the sum: to read, add and write one of 15 MiB takes 0.1 s and more;
- a record of another type is refused by its first byte, however large it is.
"""

from __future__ import annotations

from pyshard.errors import DocumentTooLarge, NotANumber, PyshardError, shortened
from pyshard.model import document_encoding
from pyshard.settings import settings

_WORK = 4  # times as much as to copy an int: it is decoded, added to, and encoded


def work_of_sum(start: bytes | memoryview, amount: bytes) -> int:
    """The work of a sum, in bytes that could be copied meanwhile."""
    return _WORK * min(len(start), settings.MAX_INT_BYTES) + len(amount)


def sum_of(key: bytes, found: bytes | memoryview | None, amount: bytes, initial: bytes) -> bytes:
    """The record of a counter's next value.

    :param found: the record that is there; None: there is none, so `initial` counts.
    :raises NotANumber: some record holds no int.
    :raises DocumentTooLarge: some record, or the sum, is past `settings.MAX_INT_BYTES`.
    """
    what, start = ("initial: ", initial) if found is None else ("", found)
    most = settings.MAX_INT_BYTES
    try:
        total = document_encoding.decode_int(start, most)
        what = "by: "
        total += document_encoding.decode_int(amount, most)
        what = "the sum: "
        result = document_encoding.encode(total)[0]
        document_encoding.check_int_size(len(result), most)
    except PyshardError as error:
        kind = DocumentTooLarge if isinstance(error, DocumentTooLarge) else NotANumber
        raise kind(f"increment of key {shortened(key.decode('utf-8', 'replace'))!r}: {what}{error}") from None
    return result
