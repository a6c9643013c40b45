"""How often a thread had to wait for a disk, as the system counts it."""

from __future__ import annotations

import resource

_THREAD: int = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # Linux alone tells of threads


def disk_reads() -> int:
    """How often the calling thread, or where that isn't known its process, had to wait for memory read from a disk."""
    return resource.getrusage(_THREAD).ru_majflt
