"""How often this process was forked: who holds another count than this one's was made in a parent.

Rule: two processes on one connection would mix up its answers. So nothing that a parent opened is used in a child.
"""

from __future__ import annotations

import os

#: One element for each fork between the first process and this one.
_forks: list[None] = []


def fork_count() -> int:
    """How many forks stand between the process that imported this and the one that asks."""
    return len(_forks)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(None))
