"""How many bytes of records a store may still look at for one batch, or for one page of keys.

Rules:

- only a store that pays for them counts them: LMDB's binding touches each page of a value that it finds, wanted or not;
- the store counts, and whoever serves the batch or the page ends it when nothing is left;
- the first record always passes, however large it is.
"""

from __future__ import annotations

from pyshard.settings import settings


class LookBudget:
    """What is left of the bytes.

    :ivar whole: how many there were.
    :ivar left: how many there are; below 0 if the last record had more.
    """

    __slots__ = ("left", "whole")

    def __init__(self) -> None:
        self.left = self.whole = settings.LOOKED_AT_ONCE
