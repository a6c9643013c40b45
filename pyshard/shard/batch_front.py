"""The front of a batch: as many of its operations, and of bytes of their keys, as one step may have. Pure.

Rules:

- a key is hashed for its slot, hashed and compared by the store, and copied, also where it isn't there; so its bytes
  count whatever the verb is, and before anything is done with them;
- the operation that reaches the bound is the last one of the front, so the first always passes;
- all behind the front is refused, so that none overtakes one that is asked for again.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import attrs

from pyshard.errors import AnswerFull
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run, part


@attrs.frozen
class BatchFront:
    """The front of a batch.

    :param runs: its runs, of which the last may have a part of its operations.
    :param operations: how many each run of the whole batch has.
    """

    runs: list[Run]
    operations: Sequence[int]

    def merge(self, answers: Sequence[Answer]) -> list[Answer]:
        """The answers to the whole batch, given those to the front."""
        refused = AnswerFull(
            "the batch is more than one step takes, and this operation was not applied; ask for it again"
        )
        whole = list(answers)
        last = len(whole) - 1
        if len(whole[last].results) < self.operations[last]:
            done = range(len(whole[last].results))
            whole[last] = whole[last].among(self.operations[last], done, refused)
        return whole + [Answer.refusing(operations, refused) for operations in self.operations[last + 1 :]]


def front_of(runs: Sequence[Run], most: int, operations: int = sys.maxsize) -> BatchFront | None:
    """The front of a batch; None: it is the whole batch.

    :param most: bytes of keys, above 0.
    :param operations: above 0, too.
    """
    front: list[Run] = []
    for run in runs:
        if most <= 0 or operations <= 0:
            break
        ends = list(accumulate(map(len, run.keys), initial=0))
        done = min(bisect_left(ends, most), operations)
        front.append(run if done >= len(run.keys) else part(run, range(done)))
        most -= ends[-1]
        operations -= len(run.keys)
    if len(front) == len(runs) and (not front or front[-1] is runs[-1]):
        return None
    return BatchFront(front, [len(run.keys) for run in runs])
