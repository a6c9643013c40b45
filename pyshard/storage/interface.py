"""A store is where one shard keeps its records: with counts of them, snapshots, and groups of changes for followers.

Rules that every store keeps (tests/storage/contract/ runs over all of them):

- a batch takes effect in its own order, and no operation of another batch comes in between;
- an answer is given when its effects are as safe as the store makes them;
- each write gives its record a version above every version before it, also over restarts;
- an expired record is never returned, from the very millisecond of its expiry on;
- `used` is the sum of key bytes + record bytes + `settings.ITEM_OVERHEAD` over all records, and
  `settings.EXPIRY_OVERHEAD` for each that has an expiry, also over expired and dropped ones until they are swept away;
- an operation that would take `used` past the limit is refused with `ShardFull`, and the rest of the batch goes on;
- when the answers are full, or the work that a batch may cost is done, the rest of it is refused with `AnswerFull`;
- a snapshot has each batch whole or not at all;
- a follower, which is somebody who copies the store, gets every group of changes, in order, or is told that it must
  begin anew; it never stops a writer;
- a record is opaque bytes, except for `increment`;
- a store knows its ranges (`pyshard.storage.ranges_interface`), and no epochs: its caller names indexes by id, and
  gives the slot of each key;
- what is hidden, since it is staged or left over, counts nowhere but where it is said;
- it may be one of several replicas (`pyshard.storage.replicated_interface`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred

from pyshard.metrics.store_figures import StoreFigures
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_operations import Run
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.storage.following_interface import IFollowedStore
from pyshard.storage.ranges_interface import IRangedStore
from pyshard.storage.replicated_interface import IReplicatedStore, SeenAnswers


class Task(msgspec.Struct, frozen=True):  # as its `__init__` is in C
    """One run of a batch, with what a store needs to apply it.

    :param run: the run.
    :param index: id of its index.
    :param slots: the slot of each of its keys.
    :param checked: ranges in which all these slots lie; None: nobody has looked. They needn't be looked at again while
        the store owns these.
    """

    run: Run
    index: int
    slots: Sequence[int]
    checked: SlotRanges | None = None


@attrs.frozen(eq=False)
class Sender:
    """Who sent a batch; where batches wait, those of one sender don't hold up those of the others.

    Each is itself, and equal to no other one. This one is told in vain; a subclass may take note of it.

    :param address: the address that the sender's connection comes from; whoever has the same shares what it gets.
    :param connection: the connection's id.
    """

    address: str
    connection: str

    @property
    def account(self) -> str:
        """What its time is counted for: its address, or a part of what comes from there."""
        return self.address

    def count(self, seconds: float, batches: float) -> None:
        """Note, in the reactor's thread, what another thread spent on batches of the sender.

        :param seconds: of a processor.
        :param batches: how many alike ones would have taken that: a small one beside a large one hardly counts.
        """

    def waited(self, seconds: float) -> None:
        """Note, in the reactor's thread, for how many seconds the answer to something small waited for replicas."""

    def hold(self, size: int) -> None:
        """Note, in the reactor's thread, how many bytes more, or fewer, answers take that wait until they may be given.

        It may end the sender's connection.
        """

    def gone(self) -> bool:
        """Whether nobody hears an answer any more, in any thread. What has not begun then needn't be done."""
        return False

    def rests(self, when_over: Callable[[], object]) -> bool:
        """Whether the address leaves its time to others now, after what it has had; in the reactor's thread.

        :param when_over: is called when it does so no longer, if it does now.
        """
        return False


#: The store itself, and whoever uses it without a network.
ITSELF = Sender("", "")


@attrs.frozen
class PageBounds:
    """What ends a page.

    :param keys: how many it has at the most.
    :param size: bytes of its keys; it ends with the key that reaches them.
    :param steps: how many keys are looked at, with those that have expired or were removed; see
        `pyshard.storage.page_walk`.
    """

    keys: int
    size: int
    steps: int = settings.PAGE_STEPS


@attrs.frozen
class Page:
    """Some keys of an index, in slot order.

    :param keys: the keys.
    :param more: whether further keys may follow the last of these.
    :param slot: where the next page begins that a page without `more` leads to; None: there is none.
    :param after: of that slot, the next page has only the keys behind this one; None: all keys of the slot.
    """

    keys: list[bytes]
    more: bool
    slot: int | None = None
    after: bytes | None = None


class ISnapshot(Protocol):
    """All records that a store had at one moment, read page by page while the store goes on changing."""

    @property
    def pinned(self) -> int:
        """Bytes of memory, or of disk, that the store keeps for the snapshot by now, more or less."""
        ...

    @property
    def kept(self) -> int:
        """How many records it has kept until now, which took time of whoever wrote them; 0 where that takes none."""
        ...

    def count(self, most_steps: int = settings.SNAPSHOT_STEPS) -> int | None:
        """How many records the snapshot has. Those that had expired at its moment aren't in it.

        It is to be called until it knows, before the first page.

        :param most_steps: how many records are looked at for it, at the most.
        :return: None: that wasn't enough; call again.
        :raises SnapshotEnded: as of `page`.
        """
        ...

    def page(self, most_bytes: int, most_steps: int = settings.SNAPSHOT_STEPS) -> list[Row] | None:
        """The next records, in an order of the store's own.

        :param most_bytes: encoded bytes that the page may have; a single record may have more.
        :param most_steps: how many records are looked at for it, at the most.
        :return: at least one row, or an empty list at the end; None: none of those looked at is a row, call again.
        :raises SnapshotEnded: the snapshot was closed, or the store had to end it.
        """
        ...

    def close(self) -> None:
        """Give back the room that the snapshot takes. A second call does nothing."""
        ...


class IStore(IFollowedStore, IRangedStore, IReplicatedStore, Protocol):
    """The records of one shard; see the rules at the head of this module, and of those of its bases."""

    #: Hex UUID, saved with the data. A store that has lost its data has a new one.
    identity: str
    #: Whether a restart loses the data.
    ephemeral: bool

    @property
    def documents(self) -> int:
        """How many documents all indexes have. Expired ones count until they are swept away."""
        ...

    def count(self, index: int) -> int:
        """How many documents an index has, counted as in `documents`. It takes the same short time for any number.

        :raises IndexNotFound: no index has this id.
        """
        ...

    @property
    def used(self) -> int:
        """Bytes that count against the limit."""
        ...

    @property
    def writable(self) -> float:
        """Bytes of changes that may be written in a second, so that its disk keeps up; inf: as many as come."""
        ...

    @property
    def figures(self) -> StoreFigures:
        """What else it tells of itself, for operators."""
        ...

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        """Apply a batch. Those of one sender are applied in the order in which they came.

        :param tasks: the runs of the batch, in order.
        :param limit: bytes that `used` may reach.
        :param room: bytes of records that the answers may have; at this size the rest is refused.
        :param sender: whose it is.
        :return: a Deferred of one answer for each task, in order.
        :raises StorageFailed: (in the Deferred) nothing was applied.
        :raises Overloaded: (in the Deferred) nothing was applied; too much waits already.
        :raises ShuttingDown: (in the Deferred) nothing was applied; see `refuse_waiting`.
        :raises Unavailable: (in the Deferred) nothing was applied; the sender was gone.
        """
        ...

    def apply_seen(
        self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF
    ) -> Deferred[SeenAnswers]:
        """As `apply`, and say up to which group the answers have seen anything.

        For a batch that changed something that is its own group. Pages and snapshots have seen no more than `sequence`
        says right after they were asked for.

        :raises ShuttingDown: (in the Deferred) as of `apply`, or the store is a member, and this a change.
        """
        ...

    def will_give(self, tasks: Sequence[Task]) -> int:
        """About how many bytes of records the answers to a batch will have, if it is applied next and not at once.

        :param tasks: runs of a batch that changes something: those that give records.
        :return: 0 where they can't be many, or are given at once.
        """
        ...

    def will_copy(self, tasks: Sequence[Task]) -> int:
        """About how many bytes of records a batch writes beside those that it brings, if it is applied next.

        :param tasks: runs of a batch that write what they find: touches and increments.
        """
        ...

    def surely_has_all(self, index: int, keys: Sequence[bytes]) -> bool:
        """Whether the store knows at once, without the slots of the keys, that it has each of these keys.

        Then they are of slots that it owns, without a look at the slots.

        :return: False also when the store can't tell without slots.
        """
        ...

    def read_at_hand(self, index: int, keys: Sequence[bytes], room: int) -> list[Result] | None:
        """What `apply` answers to a `Read` of these keys, if the store has all of it in memory, and it is plain.

        As each key is here, its slot needn't be compared with the shard's range, and it is looked up once.

        :param room: as of `apply`.
        :return: version and record of each key. None: go the usual way, as a key isn't here, may have expired, or the
            records have no room, or the store can't tell without slots.
        """
        ...

    def page(self, index: int, start: int, after: bytes | None, end: int, bounds: PageBounds) -> Deferred[Page]:
        """The next keys of an index, by slot; within a slot in a fixed order of the store's own.

        :param start: the first slot.
        :param after: a key of the slot `start`; only the keys behind it are wanted. None: all keys of that slot.
        :param end: the slot behind the last one.
        :param bounds: what ends the page.
        :raises IndexNotFound: (in the Deferred) no index has this id.
        """
        ...

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        """Have exactly these named indexes and the default one.

        An index with a new id is created empty. An index whose id is missing is dropped: it is out of sight at once,
        and `sweep` removes its records.

        :param indexes: name → id.
        :param next_index: no index of the cluster has had this id or a higher one; 0: as far as `indexes` tell.
        :param text: to be saved in the same step, as by `remember`; None: what was saved stays.
        :raises BadRequest: (in the Deferred) an index has the id of one that was dropped.
        """
        ...

    def sweep(self, most: int) -> Deferred[bool]:
        """Remove records that are out of sight (expired, or of dropped indexes), so that they use no bytes any more.

        :param most: how many records at the most, so that no operation waits long for it.
        :return: a Deferred of whether more can be removed now.
        """
        ...

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        """How many documents lie in each of `bars` equal parts of the slots [start, end).

        :return: one count for each bar; its bounds may be off by 8,192 slots.
        """
        ...

    def snapshot(self) -> ISnapshot:
        """All records as they are now: everything that was acknowledged, and each batch whole or not at all.

        An open snapshot costs memory (for what is changed after it) or disk (for what is removed after it). A store
        may have to end it early; its next page then says so.
        """
        ...

    def remember(self, text: bytes) -> Deferred[None]:
        """Save a text of the shard's own (its assignment), as safely as the documents."""
        ...

    def recall(self) -> bytes | None:
        """The text last given to `remember`; None if there was none."""
        ...

    def refuse_waiting(self) -> None:
        """Refuse (`ShuttingDown`) the batches of senders that wait and haven't begun, and all that come later.

        Those that were begun are finished, and what the store itself has waiting is done.
        """
        ...

    def close(self) -> Deferred[None]:
        """Finish what was begun or waits, and release all resources. The store must not be used afterwards."""
        ...
