"""The compiled twins of a few plain functions, where they were built: ten modules of them, by what they work on.

Rules:

- Whatever is compiled has a plain twin in Python, which says what it does, and is used where there was no compiler.
- No behavior differs. tests/test_compiled_twins.py runs and compares the two.
- What a compiled function doesn't know or would refuse it leaves to its twin: it gives None. Errors have one wording.
- Limits are arguments. Nothing here decides anything.
- Either all modules are used or none. `IN_USE` is settled when this is imported. ``PYSHARD_COMPILED=0`` in the
  environment leaves them out.
"""

from __future__ import annotations

import os

try:
    from pyshard.compiled import (
        box_leaves,
        column_leaves,
        cursor_leaves,
        dict_leaves,
        document_leaves,
        key_leaves,
        line_leaves,
        lmdb_leaves,
        messagepack_leaves,
        parse_leaves,
    )
except ImportError:  # they weren't built, or not all of them; mypy is to take them for modules, as `IN_USE` says so
    box_leaves = column_leaves = cursor_leaves = dict_leaves = document_leaves = None  # type: ignore[assignment]
    key_leaves = line_leaves = lmdb_leaves = messagepack_leaves = parse_leaves = None  # type: ignore[assignment]

#: Whether the compiled twins are used.
IN_USE: bool = key_leaves is not None and os.environ.get("PYSHARD_COMPILED") != "0"

__all__ = [
    "IN_USE",
    "box_leaves",
    "column_leaves",
    "cursor_leaves",
    "dict_leaves",
    "document_leaves",
    "key_leaves",
    "line_leaves",
    "lmdb_leaves",
    "messagepack_leaves",
    "parse_leaves",
]
