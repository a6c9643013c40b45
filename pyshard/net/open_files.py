"""How many files a process may have open: each connection is one."""

from __future__ import annotations

import resource
from math import inf

#: The part of these files that one client takes for connections; all others are the program's own.
_CLIENT = 0.75
_LEAST = 8


def most_files() -> int | None:
    """How many files this process may have open; None: any number."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def most_connections(files: int | None) -> float:
    """How many connections to shards one client may have at a time.

    :param files: that its process may have open; None: any number.
    """
    return inf if files is None else max(_LEAST, int(files * _CLIENT))


def allow_files(wanted: int) -> int:
    """Raise the number of files that this process may have open, where it is lower; what it may have then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the one that it tells
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft
