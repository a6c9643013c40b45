"""Which records of a memtable expire next, found without a look at all of them. Pure.

Rules:

- an entry is the expiry that a record had when it was put. If the record has gone, or has another expiry now, the entry
  is stale: it is passed over, and forgotten when it comes first, or when there are many of them;
- to look for what is due takes nothing out: a group that fails leaves all as it was;
- what is hidden is nobody's to remove for now. Its entries are set aside when they come first, so that each look
  isn't one at all of them again; they are put back when other slots are hidden;
- an entry is the expiry in eight bytes, and the database key behind them: so entries are in order of their expiries,
  and Python's garbage collector has none of them to look into.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from heapq import heapify, heappop, heappush

from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.storage.durable import lmdb_encoding

_EXPIRY = 8  # bytes
_FEW = 1000  # entries that may be stale in any case


class ExpiryHeap:
    """The expiries of some records.

    :param records: database key → value, empty where it was removed.
    """

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        self._records = records
        self._entries: list[bytes] = []  # a heap
        self._aside: list[bytes] = []  # another one, of those that were hidden when they came first
        self._hidden: SlotRanges = ()  # the slots that were then

    def __len__(self) -> int:
        """How many entries there are, stale ones too."""
        return len(self._entries) + len(self._aside)

    def add(self, expires: int, db_key: bytes) -> None:
        """Note that a record expires."""
        self._add(expires.to_bytes(_EXPIRY, "big") + db_key)

    def _add(self, entry: bytes) -> None:
        heappush(self._entries, entry)
        if len(self) > 2 * len(self._records) + _FEW:
            self._forget_stale()

    def merge(self, newer: ExpiryHeap) -> None:
        """Note what another one has noted."""
        for entries in (newer._entries, newer._aside):  # it is one of these, too
            for entry in entries:
                self._add(entry)

    def first(self) -> int:
        """The earliest expiry that any record has; 0: none has one."""
        for entries in (self._entries, self._aside):
            while entries and self._is_stale(entries[0]):
                heappop(entries)
        return min((_expiry_of(entries[0]) for entries in (self._entries, self._aside) if entries), default=0)

    def due(self, now: int, hidden: SlotRanges = ()) -> Generator[bytes, None, None]:
        """Database keys of the records that have expired, the earliest first; an empty one for each that is set aside.

        It must be closed, or taken to its end, before anything else is asked.

        :param hidden: slots whose records are set aside.
        """
        if hidden != self._hidden:
            self._entries += self._aside
            heapify(self._entries)
            self._aside, self._hidden = [], hidden
        entries, given = self._entries, list[bytes]()
        try:
            while entries and _expiry_of(entries[0]) <= now:
                entry = heappop(entries)
                if self._is_stale(entry) or (given and given[-1] == entry):  # it may have been put twice
                    continue
                if hidden and in_ranges(lmdb_encoding.PREFIX.unpack_from(entry, _EXPIRY)[1], hidden):
                    heappush(self._aside, entry)
                    yield b""
                else:
                    given.append(entry)
                    yield entry[_EXPIRY:]
        finally:
            for entry in given:
                heappush(entries, entry)

    def _is_stale(self, entry: bytes) -> bool:
        value = self._records.get(entry[_EXPIRY:])
        return not value or lmdb_encoding.expiry_of(value) != _expiry_of(entry)

    def _forget_stale(self) -> None:
        self._entries = list({entry for entry in self._entries if not self._is_stale(entry)})
        self._aside = list({entry for entry in self._aside if not self._is_stale(entry)})
        heapify(self._entries)
        heapify(self._aside)


def _expiry_of(entry: bytes) -> int:
    return int.from_bytes(entry[:_EXPIRY], "big")
