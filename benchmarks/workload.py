"""The interface of a workload, and the check of what it read."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from peers.interface import Side, Timed
from shapes import Shape

from pyshard import Document

_C = TypeVar("_C")

#: One in this many of the documents written is read back.
SAMPLE = 20


class WrongValue(Exception):
    """A side gave another document than the one that had to be there."""


def check(keys: Sequence[str], expected: Sequence[Document], found: Sequence[Document | None]) -> None:
    """Compare what was read with what had to be there.

    :raises WrongValue: it names the first key that has something else.
    """
    if found == expected:
        return
    for key, wanted, got in zip(keys, expected, found, strict=True):
        if wanted != got:
            raise WrongValue(f"{key!r}: found {str(got)[:200]}, expected {str(wanted)[:200]}")


def repeated(work: Callable[[], Timed], least: float) -> tuple[int, Timed]:
    """Do the calls of a round again and again, with nothing between that isn't timed.

    What a durable store puts off, such as to bring its log into its tables, comes once in a second or so, and takes
    part of one; reads meet it, too. A shorter round has none of it or all of it, and says nothing of the next one.

    :param work: does the calls once.
    :param least: seconds that all of it takes at least.
    :return: how often the calls were done; the seconds that they took, with the values of the last time.
    """
    times, last = 1, work()
    seconds = last.seconds
    while seconds < least:
        times, last = times + 1, work()
        seconds += last.seconds
    return times, Timed(seconds, last.values)


class Workload(abc.ABC, Generic[_C]):
    """Something that a client does, round after round.

    :ivar name: on the command line.
    :ivar title: in tables.
    :ivar shape: of its documents; None: it has documents of its own, and its own `prepare`.
    :ivar documents: how many are stored.
    :ivar least: seconds of a round, at the least.
    """

    name: str
    title: str
    shape: Shape | None = None
    documents: int
    least: float = 0.0

    def prepare(self, side: Side) -> None:
        """Store the documents that rounds expect, in version 0."""
        assert self.shape is not None
        side.fill(self.shape.parts(self.documents, 0, 1000))

    @abc.abstractmethod
    def run(self, client: _C, number: int) -> tuple[int, float]:
        """Do one round.

        :param number: its number; from 0, which is the warm-up.
        :return: how many operations it did, and how many seconds they took.
        """
