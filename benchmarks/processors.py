"""Gives the client a processor of its own, and the others to all servers, where that is asked for (`--pin`).

Left to the system, a server that the client's request wakes often takes the client's processor, though another one is
idle. And the threads of one Python program, which run in turns, do worse on several processors than on one. Both
effects change from run to run, for pyshard and for its peers. But it is what users have, who pin nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALL = os.sched_getaffinity(0)


def are_several() -> bool:
    """Whether client and servers can have different processors."""
    return len(_ALL) > 1


def pin_client() -> None:
    """Keep this thread, and those that it starts, to one processor, if there are several."""
    if are_several():
        os.sched_setaffinity(0, {min(_ALL)})


@contextmanager
def for_servers() -> Iterator[None]:
    """Start processes on the other processors while the context lasts, if this thread keeps to one."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL - own or own)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def placement() -> str:
    """Where client and servers run, for the page."""
    own = os.sched_getaffinity(0)
    if own == _ALL:
        return "client and servers on any processor"
    return f"client on {len(own)} processor, servers on {len(_ALL - own)}"
