"""What a store is: it keeps records by index and key, applies one batch at a time, and counts.

Rules every store keeps (tests/storage/contract/ runs over all of them):

- a batch takes effect in its order, and no other batch comes between its operations;
- an answer is given once its effects are as safe as the store makes them;
- each write gives its record a version that is higher than every version before, over restarts too;
- a record whose time is over is never seen again, from that very moment;
- `used` is the sum, over all records that take up room (expired and dropped ones until they are swept away), of key
  bytes + record bytes + `settings.ITEM_OVERHEAD`, and an operation that would take it past the limit is refused with
  `ShardFull` while the rest of the batch goes on;
- an answer that has no room left refuses everything that is left of the batch with `AnswerFull`, unapplied;
- records are opaque, but for `increment`.

A store knows no range and no epoch; batches and pages name indexes by id, and slots come with the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from pyshard.protocol.answers import Answer
from pyshard.protocol.batches import Run
from pyshard.protocol.pages import Row


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


@attrs.frozen
class Page:
    """Some keys of an index, in slot order.

    :param keys: the keys.
    :param more: whether there may be further ones behind them.
    """

    keys: list[bytes]
    more: bool


class ISnapshot(Protocol):
    """All records that a store had at one moment, while the store goes on changing."""

    #: How many records it has; those that had expired at that moment aren't among them.
    documents: int

    def page(self, most_bytes: int) -> list[Row]:
        """The next records, in an order of the store's own; an empty list at the end.

        :param most_bytes: bytes that the page may have, encoded; a single record may have more.
        :raises SnapshotEnded: the store had to end the snapshot, or it was closed.
        """
        ...

    def close(self) -> None:
        """Let go of what it keeps. Closing it again does nothing."""
        ...


class IStore(Protocol):
    """Keeps documents for one shard."""

    #: Hex UUID, kept with the data: a store that lost its data has another one.
    identity: str
    #: Whether a restart loses the data.
    ephemeral: bool

    @property
    def documents(self) -> int:
        """How many documents there are, in all indexes; expired ones count until they are swept away."""
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
        :raises StorageFailed: (in the Deferred) nothing was applied.
        """
        ...

    def holds(self, index: int, keys: Sequence[bytes]) -> bool:
        """Whether it is known at once, without their slots, that there is each of these keys.

        A shard holds keys of its own range only, so it needn't compute where those belong that it holds.

        :return: False also when a store would have to look for them by their slots.
        """
        ...

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        """The next keys of an index by slot, and within a slot in a fixed order of the store's own.

        :param start: first slot to look at; with `after`, only the keys of `start` behind that one.
        :param end: first slot not to look at.
        :param most: how many keys at the most.
        :param most_bytes: bytes of keys after which the page takes no further one.
        :raises IndexNotFound: (in the Deferred) there is no index of that id.
        """
        ...

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        """Have exactly these named indexes (name → id) and the default one.

        Ids that are new are created empty; ids that are gone are out of sight at once, and swept away bit by bit.
        """
        ...

    def sweep(self, most: int) -> Deferred[bool]:
        """Give back the room of records that nobody can see any more (expired, or of dropped indexes).

        :param most: how many records to remove at the most, so that nobody waits long for it.
        :return: a Deferred of whether there are more to remove now.
        """
        ...

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        """How many documents lie in each of `bars` equal parts of [start, end); bounds may be off by 8,192 slots."""
        ...

    def snapshot(self) -> ISnapshot:
        """A view of all records as they are now: of what was acknowledged everything, of a batch all or nothing.

        It costs room until it is closed (in memory for what has changed since, on disk for what was removed since).
        A store may have to end it early; the page after that says so.
        """
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
