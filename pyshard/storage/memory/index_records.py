"""One index of a store in memory: a dict of records, beside it expiries, and the keys in slot order.

Rules:

- a value of the dict is version and record in one (`VERSION`, record), so that the verb `read` copies nothing;
- an operation touches expiries and the slot order only if it must;
- a run that comes as a whole (`has`, `read`, `write`) is done in columns: one call over the list of all keys, not one
  for each. All other operations come key by key;
- each change keeps right at once the bytes that the store holds (`held`), and its counts of documents
  (`pyshard.storage.slot_histogram`);
- a run of reads looks each key up once, where all are there, none may have expired, and the answer has room for all.
  Whether any key of the index may have expired is known at once (`ExpirySchedule.may_have_expired`);
- `write` in columns does what `put` does key by key (tests/storage/memory/test_index_records.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.change_groups import Change
from pyshard.protocol.columns import picker
from pyshard.settings import settings
from pyshard.storage.dict_values import values_of
from pyshard.storage.memory.dict_lookups import found_values, stored_key
from pyshard.storage.memory.dict_updates import put_values
from pyshard.storage.memory.expiry_schedule import ExpirySchedule
from pyshard.storage.memory.index_owner import IndexOwner
from pyshard.storage.memory.index_watchers import IndexWatchers, Watcher
from pyshard.storage.memory.slot_index import SlotIndex
from pyshard.storage.memory.unused_entries import UnusedEntries
from pyshard.storage.page_walk import KEY_STEP, Step
from pyshard.storage.slot_histogram import BUCKET_BITS
from pyshard.storage.store_index import StoredRecord, cost, growth

_LONG = 1024  # bytes of a value from which on a view costs less than a copy


class MemoryIndex:
    """`StoreIndex` in memory, of every batch that uses the index.

    :param store: the store of the index.
    :param name: name of the index, in UTF-8.
    :param now: milliseconds since 1970.
    :param number: id of the index.
    :ivar records: key → version and record.
    :ivar expiries: key → expiry, of the records that have one. `unused` gives back what both don't use. Both are others
        now and then (`renew`).
    :ivar slot_index: the keys in slot order.
    :ivar noted: key → slot of the records that change, while somebody wants to know; else None (`take_notes`).
    :ivar absorbed: the highest version of a record that came from elsewhere.
    :ivar dropped: whether the cluster has it no more.
    """

    def __init__(self, store: IndexOwner, name: bytes, now: int = 0, number: int = DEFAULT_INDEX) -> None:
        self._store = store
        self._number = number
        self.records: dict[bytes, bytes] = {}
        self.expiries: dict[bytes, int] = {}
        self.unused = UnusedEntries(self.records, self.expiries)
        self.noted: dict[bytes, int] | None = None
        self.absorbed = 0
        self.dropped = False
        self._watchers = IndexWatchers()
        self._watched = False  # whether anybody wants to know what changes
        self._schedule = ExpirySchedule(now)
        self.slot_of = partial(slot_of, index=name)
        self.slot_index = SlotIndex(self.slot_of, self.records, self._store.grown)

    def renew(self, records: dict[bytes, bytes], expiries: dict[bytes, int]) -> None:
        """Have other dicts, of the same records and expiries."""
        self.records = self.slot_index.present = records
        self.expiries = expiries
        self.unused = UnusedEntries(records, expiries)

    def watch(self, watcher: Watcher) -> None:
        """Tell somebody of records that change."""
        self._watchers.add(watcher)
        self._watched = True

    def unwatch(self, watcher: Watcher) -> None:
        """Tell somebody nothing more."""
        self._watchers.remove(watcher)
        self._watched = self._watchers.any or self.noted is not None

    def take_notes(self, wanted: bool) -> None:
        """Note what changes from now on, or no more."""
        self.noted = {} if wanted else None
        self._watched = wanted or self._watchers.any

    def _note(self, key: bytes, slot: int, version: int = 0) -> None:
        """Tell those who want to know that a record is about to change; for `version` see `IndexWatchers.keep`."""
        if self._watchers.any:
            self._watchers.keep(key, slot, version)
        if self.noted is not None:
            self._store.noted_in[self._number] = self
            self.noted[key] = slot

    def find(self, key: bytes, slot: int) -> StoredRecord | None:
        """See `StoreIndex`."""
        value = self.records.get(key)
        if value is None:
            return None
        record = value[VERSION.size :] if len(value) < _LONG else memoryview(value)[VERSION.size :]
        return StoredRecord(VERSION.unpack_from(value)[0], self.expiries.get(key, 0), record)

    def put(self, key: bytes, slot: int, new: StoredRecord, old: StoredRecord | None, grows: int) -> None:
        """See `StoreIndex`."""
        store = self._store
        store.held += grows
        store.touched = True
        if self._watched:
            self._note(key, slot, new.version if old is None or new.version < old.version else old.version)
        if old is None:
            store.bucket_counts[slot >> BUCKET_BITS] += 1
            self.records[key] = VERSION.pack(new.version) + new.record
            self.slot_index.add((slot,), (key,))
            if new.expires:
                self._schedule.add(key, new.expires)
                self.expiries[key] = new.expires
            return
        if new.version != old.version or new.record is not old.record:  # a touch has neither
            self.records[key] = VERSION.pack(new.version) + new.record
        if new.expires != old.expires:
            self._change_expiry(key, new.expires, old.expires)

    def delete(self, key: bytes, slot: int, old: StoredRecord, size: int) -> None:
        """See `StoreIndex`."""
        if old.expires:
            self._schedule.remove(key, old.expires)
        self._forget(key, slot, old, size)

    def _forget(self, key: bytes, slot: int, old: StoredRecord, size: int) -> None:
        """Remove a key that isn't in the schedule of expiries; for the parameters see `delete`."""
        store = self._store
        store.touched = True
        if self._watched:
            self._note(key, slot)
        del self.records[key]
        if old.expires:
            del self.expiries[key]
        store.held -= size
        store.bucket_counts[slot >> BUCKET_BITS] -= 1
        self.slot_index.note_removed(slot, key)

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `StoreIndex`."""
        store, before = self._store, self._store.held
        store.touched = True
        if self._watchers.any:
            self._watchers.keep_column(keys, slots)
        if self.noted is not None:
            store.noted_in[self._number] = self
            self.noted.update(zip(keys, slots, strict=True))
        if self.expiries and not self.expiries.keys().isdisjoint(keys):
            for key in filter(self.expiries.__contains__, keys):
                self._schedule.remove(key, self.expiries.pop(key))
                store.held -= settings.EXPIRY_OVERHEAD
        grown, added, older = put_values(self.records, keys, records, versions, self._watchers.newest)
        store.held += grown
        if older:
            self._watchers.keep_replaced(keys, slots, older)
        if added:
            if len(added) < len(keys):
                pick = picker(added)
                keys, slots = pick(keys), pick(slots)
            self.slot_index.add(slots, keys)
            counts = store.bucket_counts
            for slot in slots:
                counts[slot >> BUCKET_BITS] += 1
            store.held += len(b"".join(keys)) + len(keys) * settings.ITEM_OVERHEAD
        return store.held - before

    def _change_expiry(self, key: bytes, expires: int, before: int) -> None:
        """Give a key that is here another expiry, or none (0).

        :param before: the expiry that it has, or 0.
        """
        if before:
            if expires and self._schedule.is_in_place(key, expires):
                self.expiries[key] = expires
                return
            self._schedule.remove(key, before)
        if expires:
            key = stored_key(self.records, key)  # a long key isn't to be in memory twice
            self._schedule.add(key, expires)
            self.expiries[key] = expires
        else:
            del self.expiries[key]

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `StoreIndex`."""
        return [value is not None for value in self.read(keys, slots, now, 0)]

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `StoreIndex`."""
        values: list[Result] = [*values_of(self.records, keys)]
        if self.expiries and self._schedule.may_have_expired(now):
            expiry = self.expiries.get
            values = [None if 0 < expiry(key, 0) <= now else value for key, value in zip(keys, values, strict=True)]
        return values

    def read_at_hand(self, keys: Sequence[bytes], room: int, now: int) -> list[Result] | None:
        """See `pyshard.storage.interface.IStore.read_at_hand`."""
        if self.expiries and self._schedule.may_have_expired(now):
            return None
        return cast("list[Result] | None", found_values(self.records, keys, room))

    def walk(self, start: int, after: bytes | None, end: int, now: int) -> Iterator[Step]:
        """The entries of the slots [start, end), in order of slot and key; those that nobody may see, too.

        :param after: of the first slot only the entries behind this key; None: all.
        """
        steps = self.slot_index.walk(start, after, end)
        if not self._schedule.may_have_expired(now):
            return steps
        expiries = self.expiries

        def expired(key: bytes | None) -> bool:
            return key in expiries and expiries[key] <= now

        return ((slot, key, visible and not expired(key)) for slot, key, visible in steps)

    def sweep(self, now: int, most: int, hidden: SlotRanges = ()) -> int:
        """Remove records that have expired.

        :param most: how many keys are looked at, at the most; a long one counts as several, and the last may cross it.
        :param hidden: slots whose records stay.
        :return: how many were looked at.
        """
        looked_at = 0
        while looked_at < most and (key := self._schedule.next_due(now)) is not None:
            looked_at += 1 + len(key) // KEY_STEP  # it is hashed for its slot
            expires = self.expiries[key]
            slot = self.slot_of(key)
            if expires > now:
                self._schedule.add(key, expires)
            elif hidden and in_ranges(slot, hidden):
                self._schedule.pass_over(key)
                for watcher in self._watchers:  # of which some may be from before the slot was hidden
                    watcher.keep(key, slot)
            else:
                expired = self.find(key, slot)
                assert expired is not None  # a key with an expiry has a record
                self._forget(key, slot, expired, cost(key, expired))
                self._store.expired += 1
        return looked_at

    def changes(self) -> list[Change]:
        """What has become of the records that were noted, of which none is noted then."""
        number = self._number
        noted = self.noted or {}
        if noted:
            self.noted = {}
        found: list[Change] = []
        for key, slot in noted.items():
            if (value := self.records.get(key)) is None:
                found.append(Change(number, slot, key, 0, 0, None))
            else:
                version = VERSION.unpack_from(value)[0]
                found.append(Change(number, slot, key, version, self.expiries.get(key, 0), value[VERSION.size :]))
        return found

    def absorb(self, change: Change) -> None:
        """Have become of a record what has become of it elsewhere."""
        old = self.find(change.key, change.slot)
        self.absorbed = max(self.absorbed, change.version)
        if change.record is not None:
            new = StoredRecord(change.version, change.expires, change.record)
            self.put(change.key, change.slot, new, old, growth(change.key, new, old))
        elif old is not None:
            self.delete(change.key, change.slot, old, cost(change.key, old))

    def sweep_again(self) -> None:
        """Have `sweep` look again at what it has passed over, since other slots are hidden now."""
        self._schedule.look_again()

    @property
    def sweep_rounds(self) -> int:
        """How often sweeps began to look again at what they had passed over; see `ExpirySchedule.rounds`."""
        return self._schedule.rounds

    def replace_key(self, key: bytes, new: bytes) -> None:
        """Have another object as a key that is there; the slot order is its caller's."""
        self.records[new] = self.records.pop(key)
        if key in self.expiries:
            self.expiries[new] = expires = self.expiries.pop(key)
            self._schedule.replace(key, expires, new)

    def records_in(self, ranges: SlotRanges) -> Iterator[tuple[bytes, int, int]]:
        """Key, slot and used bytes of each record in some ranges."""
        for start, end in ranges:
            for slot, key, present in self.slot_index.walk(start, None, end):
                if present and key is not None:
                    yield key, slot, self.used_by(key)

    def used_by(self, key: bytes) -> int:
        """Bytes that a record counts which is there."""
        expiry = settings.EXPIRY_OVERHEAD if key in self.expiries else 0
        return len(key) + len(self.records[key]) - VERSION.size + settings.ITEM_OVERHEAD + expiry

    def trim(self, key: bytes, slot: int, used: int) -> None:
        """Remove a record.

        :param used: the bytes that it counts.
        """
        old = self.find(key, slot)
        assert old is not None  # it was found just now
        self.delete(key, slot, old, used)

    def may_be_swept(self, now: int) -> bool:
        """Whether `sweep` has something to look at."""
        return self._schedule.is_due(now)

    def leave_counts(self) -> None:
        """Take a dropped index out of the store's histogram; its records still count as used, with their expiries."""
        for bucket, count in self.slot_index.bucket_counts():
            self._store.bucket_counts[bucket] -= count
        self.slot_index = SlotIndex(self.slot_of, self.records, self._store.grown)
        self._schedule = ExpirySchedule()
        self.take_notes(False)
        self.dropped = True

    def forget_some(self, most: int) -> int:
        """Remove some records of a dropped index.

        :return: how many there were.
        """
        return sum(1 for _ in range(most) if self.forget_one())

    def forget_one(self) -> bool:
        """Remove some record of a dropped index; whether there was one."""
        if not self.records:
            return False
        key, value = self.records.popitem()
        if self._watched:
            self.records[key] = value  # it must be seen once more; to look for the last key first would be quadratic
            self._note(key, self.slot_of(key))
            self.records.popitem()
        old = StoredRecord(0, self.expiries.pop(key, 0), memoryview(value)[VERSION.size :])
        self._store.held -= cost(key, old)
        return True
