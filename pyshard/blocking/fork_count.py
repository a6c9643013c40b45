"""How often this process was forked: who holds another count than this one's was made in a parent.

Rule: two processes on one connection would mix up its answers. So nothing that a parent opened is used in a child.
"""

from __future__ import annotations

import os
from collections.abc import Callable

#: One element for each fork between the first process and this one.
_forks: list[None] = []


#: How many forks stand between the process that imported this and the one that asks. It is asked with every call.
fork_count: Callable[[], int] = _forks.__len__


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(None))
