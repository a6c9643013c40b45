"""How bad a state is that the page shows. Pure.

The page gives each level a color. What the state is stands beside it in words.
"""

from __future__ import annotations

from enum import Enum


class Level(Enum):
    """From the worst to the best."""

    BAD = "bad"
    WARN = "warn"
    INFO = "info"
    GOOD = "good"
