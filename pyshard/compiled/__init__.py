"""The compiled twins of a few plain functions, where they were built: `leaves`, from leaves.pyx.

Rules:

- Whatever is compiled has a plain twin in Python, which is the reference, and is used where there was no compiler.
- No behavior differs. tests/test_compiled_twins.py compares the two.
- `IN_USE` is settled when this is imported. ``PYSHARD_COMPILED=0`` in the environment leaves the twins out.
"""

from __future__ import annotations

import os

try:
    from pyshard.compiled import leaves
except ImportError:  # it wasn't built
    leaves = None  # type: ignore[assignment]  # as `IN_USE` says

#: Whether the compiled twins are used.
IN_USE: bool = leaves is not None and os.environ.get("PYSHARD_COMPILED") != "0"

__all__ = ["IN_USE", "leaves"]
