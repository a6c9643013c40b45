"""The types of parse_leaves.pyx."""

from collections.abc import Callable
from typing import TypeVar

_D = TypeVar("_D")

def pairs_of_lines(
    lines: list[bytes], jsonl: bool, made: Callable[[bytes, int], _D], most_bytes: int, most_nesting: int
) -> list[tuple[str, _D] | None]: ...
