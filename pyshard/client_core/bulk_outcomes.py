"""The outcomes of a bulk verb: where each belongs. Pure.

Rule: every key has an outcome, whatever goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pyshard.client_core.bulk_input import BulkSlice, Encoded
from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.compiled import IN_USE, document_leaves
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.columns import picker

#: Called with the number of keys that are done so far, those that failed included.
Progress = Callable[[int], object]


class SliceInFlight:
    """A slice on its way: takes the outcomes of its parts (`pyshard.client_core.bulk_operation.BulkReceiver`).

    :param part_done: is told of each part whose outcomes are in place, with the types of these.
    :ivar outcomes: those of all keys of the slice, in order. A write's sizes are there once it is encoded, and stay
        there when all goes well.
    """

    def __init__(self, bulk_slice: BulkSlice, part_done: Callable[[BulkOperation, set[type]], None]) -> None:
        self._part_done = part_done
        self.decode = bulk_slice.decode
        self.room = bulk_slice.room
        self._places = bulk_slice.places
        self.outcomes: list[object] = [None] * len(bulk_slice.keys)
        if bulk_slice.sizes:
            self._put(bulk_slice.places, bulk_slice.sizes)
        self._put(bulk_slice.refused.keys(), bulk_slice.refused.values())

    def write(self, write: Encoded) -> None:
        """Put down the sizes of documents that are sent now, and the errors of those that are not."""
        placed(self.outcomes, self.places(write.numbers), list(write.sizes))
        self._put(self.places(list(write.refused)), write.refused.values())

    def places(self, numbers: Sequence[int]) -> Sequence[int]:
        """Where the outcomes of some keys of the slice's run belong."""
        return numbers if isinstance(self._places, range) else picker(numbers)(self._places)

    def _put(self, places: Iterable[int], outcomes: Iterable[object]) -> None:
        found = self.outcomes
        for place, outcome in zip(places, outcomes, strict=True):
            found[place] = outcome

    def part_done(self, bulk_operation: BulkOperation, outcomes: list[object]) -> None:
        """See `pyshard.client_core.bulk_operation.BulkReceiver`."""
        found, positions = self.outcomes, bulk_operation.positions
        kinds: set[type] = {bool}
        if not isinstance(bulk_operation.run, Write):
            kinds = placed(found, positions, outcomes)
        elif outcomes.count(True) < len(outcomes):
            kinds = set(map(type, outcomes))
            for position, outcome in zip(positions, outcomes, strict=True):
                if outcome is not True:
                    found[position] = outcome
        self._part_done(bulk_operation, kinds)


def placed_plainly(found: list[object], positions: Sequence[int], outcomes: list[object]) -> set[type]:
    """Put each outcome at its position.

    :return: the types of the outcomes.
    """
    for position, outcome in zip(positions, outcomes, strict=True):
        found[position] = outcome
    return set(map(type, outcomes))


placed: Callable[[list[object], Sequence[int], list[object]], set[type]] = (
    document_leaves.placed if IN_USE else placed_plainly
)
