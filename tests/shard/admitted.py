"""Changes that a pace of writers admits, or refuses."""

from __future__ import annotations

from pyshard.shard.slowed_writers import LONGEST, WriterPace


def admit(pace: WriterPace, size: int, now: float, address: str) -> float | None:
    """For how long the answer to changes waits, as a shard does it; None: they are refused."""
    seconds = pace.wait(now, address, size)
    if seconds > LONGEST:
        return None
    pace.note(size, now, address, size)
    return seconds
