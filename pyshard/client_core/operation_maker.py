"""From the arguments of a verb on one key to its operation: the same in every client. Pure, but for the clock.

Rule: what is wrong with an argument is raised before there is an operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pyshard.client_core.argument_checks import deadline_seconds
from pyshard.client_core.operation import NO_OPTIONS, Operation, VerbOptions
from pyshard.model.cluster_state import check_index_name
from pyshard.model.key_slots import Key, key_bytes, slot_of

_O = TypeVar("_O", bound=Operation)


class OperationMaker(Generic[_O]):
    """Makes the operations of one client.

    :param make: their class, which says how a caller is told the outcome.
    :param now: gives the time, in seconds.
    :param deadline: seconds that an operation may take where its verb is given none.
    :param index: the name of the index that is meant where a verb is given none; empty: the default index.
    """

    def __init__(self, make: type[_O], now: Callable[[], float], deadline: float, index: str) -> None:
        self._make = make
        self._now = now
        self._deadline = deadline
        self._index = index

    def operation(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: VerbOptions = NO_OPTIONS,
    ) -> _O:
        """The operation that a verb asks for; see `Operation`.

        :raises PyshardError: an argument can't be used.
        """
        text = key_bytes(key)
        name = self._index if index is None else check_index_name(index)
        expires = self._now() + (self._deadline if deadline is None else deadline_seconds(deadline))
        slot = slot_of(text, name.encode()) if name else slot_of(text)
        weight = len(text) + len(record) + len(options.initial)
        return self._make(verb, name, text, slot, expires, weight, record, size, options)
