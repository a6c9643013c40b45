"""Sets of keys that Python's garbage collector doesn't look through.

It looks at each key of each set now and then, and nobody is served meanwhile: 0.1 s for a million keys. But it looks
for cycles alone, and a set of bytes is in none. A dict that has nothing but bytes isn't looked through either, but
takes a quarter more memory.
"""

from __future__ import annotations

from pyshard.compiled import IN_USE, dict_leaves


def untracked_plainly(keys: set[bytes]) -> set[bytes]:
    """The same set, of which the garbage collector is to know nothing from now on. Plain Python can't do that."""
    return keys


untracked = dict_leaves.untracked if IN_USE else untracked_plainly
