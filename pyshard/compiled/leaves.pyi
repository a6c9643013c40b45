"""The types of the compiled twins; see leaves.pyx."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

def slot_of(key: bytes, index: bytes = b"") -> int: ...
def slots_of(keys: Iterable[bytes], index: bytes = b"") -> list[int]: ...
def keys_bytes(keys: Sequence[object], longest: int) -> list[bytes] | None: ...
def split(slots: Sequence[int], starts: list[int]) -> list[list[int]]: ...
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
def found_records(
    results: Sequence[object],
    slots: Sequence[int],
    begin: int,
    quick_document: Callable[[bytes], Any],
    most_uncounted: int,
) -> list[object] | None: ...
def whole_box(data: bytes, most_keys: int, most_bytes: int) -> dict[bytes, bytes] | None: ...
