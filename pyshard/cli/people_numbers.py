"""Numbers for people: bytes and times in the unit that suits them. Pure."""

from __future__ import annotations


def size(count: int) -> str:
    """A number of bytes for people: 1536 → ``1.5 KiB``."""
    amount, units = float(count), ["KiB", "MiB", "GiB", "TiB", "PiB"]
    if count < 1024:
        return f"{count} B"
    unit = "B"
    while amount >= 1024 and units:
        amount, unit = amount / 1024, units.pop(0)
    return f"{amount:.1f} {unit}"


def span(seconds: float) -> str:
    """A time for people: 4000 seconds → ``1 h``."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds / length)} {unit}"
    return f"{int(seconds)} s"
