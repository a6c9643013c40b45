"""Which processors client and servers run on: one is the client's, the others are for all servers.

Left to the system, a server that is woken by the client's request often takes the client's own processor from it,
though another one has nothing to do; and threads of one Python program, which run by turns, do worse on several
processors than on one. Both come and go with the system's mood, for pyshard as for its peers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = os.sched_getaffinity(0)


def part() -> None:
    """Have this thread, and those that it starts, keep to one processor, if there are several."""
    if len(_ALL) > 1:
        os.sched_setaffinity(0, {min(_ALL)})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Have processes that are started meanwhile run on the other processors, if this thread keeps to some."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL - own or own)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def told() -> str:
    """Who runs where."""
    own = os.sched_getaffinity(0)
    if own == _ALL:
        return "client and servers on any processor"
    return f"client on {len(own)} processor, servers on {len(_ALL - own)}"
