"""What a store is: it keeps records by index and key, applies one batch at a time, and counts.

Rules every store keeps (tests/test_storage_contract.py runs over all of them):

- a batch takes effect in its order, and no other batch comes between its operations;
- an answer is given once its effects are as safe as the store makes them;
- `used` is the sum, over all documents, of key bytes + record bytes + `settings.ITEM_OVERHEAD`, and an operation
  that would take it past the limit is refused with `ShardFull` while the rest of the batch goes on;
- an answer that has no room left refuses everything that is left of the batch with `AnswerFull`, unapplied;
- records are opaque.

A store knows no range and no epoch; batches and pages name indexes by id, and slots come with the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from pyshard.batch import Answer, Run


@attrs.frozen
class Task:
    """One run, as a store applies it.

    :param run: the run.
    :param index: id of its index.
    :param slots: the slot of each of its keys.
    """

    run: Run
    index: int
    slots: Sequence[int]


class IStore(Protocol):
    """Keeps documents for one shard."""

    #: Hex UUID, kept with the data: a store that lost its data has another one.
    identity: str
    #: Whether a restart loses the data.
    ephemeral: bool

    @property
    def documents(self) -> int:
        """How many documents there are, in all indexes."""
        ...

    @property
    def used(self) -> int:
        """Bytes that count against the limit."""
        ...

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        """Apply a batch.

        :param limit: bytes that `used` may reach.
        :param room: bytes of records after which the answers take no further operation.
        :return: a Deferred of one answer for each task, in order.
        """
        ...

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        """The next keys of an index in (slot, key) order.

        :param start: first slot to look at; with `after`, only the keys behind (`start`, `after`).
        :param end: first slot not to look at.
        :param most: how many keys at the most.
        :param most_bytes: bytes of keys after which the page takes no further one.
        :raises IndexNotFound: (in the Deferred) there is no index of that id.
        """
        ...

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        """Have exactly these named indexes (name → id) and the default one.

        Ids that are new are created empty; ids that are gone are dropped with their documents.
        """
        ...

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        """How many documents lie in each of `bars` equal parts of [start, end); bounds may be off by 8,192 slots."""
        ...

    def remember(self, text: bytes) -> Deferred[None]:
        """Keep a text of the shard's own (its assignment) as safely as the documents."""
        ...

    def recall(self) -> bytes | None:
        """The text last given to `remember`; None when there was none."""
        ...

    def close(self) -> Deferred[None]:
        """Finish what was begun and let go of everything; the store isn't used afterwards."""
        ...


@attrs.frozen
class Page:
    """Some keys of an index, in (slot, key) order.

    :param keys: the keys.
    :param more: whether there may be further ones behind them.
    """

    keys: list[bytes]
    more: bool
