"""The types of document_leaves.pyx."""

from collections.abc import Callable, Sequence
from typing import Any

def plain_size(document: object, most_bytes: int, most_nesting: int) -> int | None: ...
def record_of(
    document: object,
    encode_body: Callable[[object], bytes],
    most_bytes: int,
    most_nesting: int,
    most_uncounted: int,
) -> tuple[bytes, int] | None: ...
def records_of(
    documents: Sequence[object],
    room: int,
    encode_body: Callable[[object], bytes],
    most_bytes: int,
    most_nesting: int,
    most_uncounted: int,
) -> tuple[list[bytes], list[int]] | None: ...
def placed(found: list[object], positions: Sequence[int], outcomes: list[object]) -> set[type]: ...
def found_documents(
    results: Sequence[object],
    default: object,
    begin: int,
    quick_document: Callable[[bytes], Any],
    most_uncounted: int,
) -> list[object] | None: ...
def found_records(
    results: Sequence[object],
    slots: Sequence[int],
    begin: int,
    quick_document: Callable[[bytes], Any],
    most_uncounted: int,
) -> list[object] | None: ...
def answered_records(
    data: bytes, slots: Sequence[int], begin: int, quick_document: Callable[[Any], Any], most_uncounted: int
) -> list[object] | None: ...
