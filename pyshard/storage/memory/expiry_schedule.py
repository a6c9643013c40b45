"""Which keys of one index expire next: sets of keys, the nearer in time the finer. Pure.

Rules:

- each key is in one set alone, and in none once it is removed, so nothing is left of expiries that were changed;
- a set is known by its *start*: no key in it expires earlier. Its start is the key's expiry without some of its lowest
  digits (of 64): the digits in which it differs from the time that was reached, all but the first of these;
- a set whose start has come is taken apart key by key: what is not due yet goes on into a finer set, a few times;
- what is due and can't go yet is passed over: it is due again after `look_again`, behind all else, one key after the
  other. To say so copies nothing, however many they are;
- Python's garbage collector looks at none of these sets (`pyshard.storage.memory.untracked_sets`);
- no step looks at all keys, but for the growth of a set itself (some 60 ms at a million, half of what a dict takes). A
  set that has lost most of its keys is copied, which takes a fraction of that.
"""

from __future__ import annotations

from pyshard.storage.memory.spare_room import is_thin
from pyshard.storage.memory.untracked_sets import untracked

_DIGIT = 6  # bits
_SHIFTS = range(0, 64, _DIGIT)
_NEVER = 1 << 64  # behind any time
_SHIFT_OF = [0, *(bit // _DIGIT * _DIGIT for bit in range(64))]  # by how many bits two times differ in


class ExpirySchedule:
    """The keys of an index that expire.

    :param reached: milliseconds since 1970 of about now. Expiries near to it cost least.
    :ivar rounds: how often all that was due had come, and what was passed over became due again. So three rounds later
        each key that was due has come, or is removed, however often `look_again` is called.
    """

    def __init__(self, reached: int = 0) -> None:
        self._reached = reached
        self._sets: dict[int, set[bytes]] = {}  # start → keys
        self._passed_over: set[bytes] = untracked(set())  # what isn't due now, though it has expired
        self._again: set[bytes] = untracked(set())  # what was passed over, and is due again
        self._next: set[bytes] = untracked(set())  # what is due again when all else that is due has come
        self._least = _NEVER  # no start is lower; it may be that of a set that was dropped
        self._looks_again = False  # whether what is passed over is due behind that, too
        self.rounds = 0

    def __len__(self) -> int:
        return sum(map(len, self._sets.values()))

    def add(self, key: bytes, expires: int) -> None:
        """Put in a key that isn't there.

        :param expires: milliseconds since 1970.
        """
        start = self._start(expires)
        keys = self._sets.get(start)
        if keys is None:
            self._sets[start] = untracked({key})
            self._least = min(self._least, start)
        else:
            keys.add(key)

    def is_in_place(self, key: bytes, expires: int) -> bool:
        """Whether a key is where `add` would put it with this expiry. Then its expiry may simply become this one."""
        keys = self._sets.get(self._start(expires))
        return keys is not None and key in keys

    def remove(self, key: bytes, expires: int) -> None:
        """Take out a key.

        :param expires: the expiry that it was added with.
        """
        if key in self._passed_over:
            self._passed_over.remove(key)
            if is_thin(self._passed_over):
                self._passed_over = untracked(set(self._passed_over))
            return
        if key in self._again:
            self._again.remove(key)
            self._note_come_again()
            return
        if key in self._next:
            self._next.remove(key)
            if is_thin(self._next):
                self._next = untracked(set(self._next))
            return
        start = self._start_of(key, expires)
        keys = self._sets[start]
        keys.remove(key)
        self._note_removed(start, keys)

    def replace(self, key: bytes, expires: int, new: bytes) -> None:
        """Have an equal key, another object, in place of one; for the parameters see `remove`."""
        aside = (self._passed_over, self._again, self._next)
        keys = next((keys for keys in aside if key in keys), None)
        if keys is None:
            keys = self._sets[self._start_of(key, expires)]
        keys.remove(key)
        keys.add(new)

    def pass_over(self, key: bytes) -> None:
        """Put a key back that `next_due` has given, which isn't due again before `look_again`."""
        self._passed_over.add(key)

    def look_again(self) -> None:
        """Have all keys be due again that were passed over."""
        if self._next:
            self._looks_again = True
        else:
            self._next, self._passed_over = self._passed_over, untracked(set())

    def next_due(self, now: int) -> bytes | None:
        """Take out a key that has expired, or that must be looked at: its caller adds it again if it hasn't expired.

        :param now: milliseconds since 1970.
        """
        if self._again:
            return self._next_again()
        if self._reached > now or self._reached not in self._sets:
            self._reached = min(now, min(self._sets, default=now))
        keys = self._sets.get(self._reached)
        if keys is None:
            return self._begin_round()
        key = keys.pop()
        self._note_removed(self._reached, keys)
        return key

    def is_due(self, now: int) -> bool:
        """Whether `next_due` gives a key."""
        aside = self._again or self._next or (self._looks_again and self._passed_over)
        return bool(aside) or self._has_come(now)

    def may_have_expired(self, now: int) -> bool:
        """Whether any key may have expired. Each read asks that, so it takes no look at all sets."""
        return self._has_come(now) or bool(self._passed_over or self._again or self._next)

    def _has_come(self, now: int) -> bool:
        """Whether the start of a set has come."""
        if self._least <= now and self._least not in self._sets:
            self._least = min(self._sets, default=_NEVER)
        return self._least <= now

    def _begin_round(self) -> bytes | None:
        """Have those be due again that were passed over, if they are to be, and take one of them out."""
        self.rounds += 1
        self._again, self._next = self._next, untracked(set())
        if self._looks_again:
            self._next, self._passed_over, self._looks_again = self._passed_over, untracked(set()), False
        return self._next_again() if self._again else self._begin_round() if self._next else None

    def _next_again(self) -> bytes:
        key = self._again.pop()
        self._note_come_again()
        return key

    def _note_come_again(self) -> None:
        if is_thin(self._again):
            self._again = untracked(set(self._again))

    def _note_removed(self, start: int, keys: set[bytes]) -> None:
        """Drop a set that has no key any more, and the room of one that has lost most of them."""
        if not keys:
            del self._sets[start]
            if is_thin(self._sets):
                self._sets = dict(self._sets)
        elif is_thin(keys):
            self._sets[start] = untracked(set(keys))

    def _start_of(self, key: bytes, expires: int) -> int:
        """The start of the set that a key is in."""
        start = self._start(expires)
        return start if key in self._sets.get(start, ()) else self._start_before(key, expires)

    def _start_before(self, key: bytes, expires: int) -> int:
        """The start of the set that a key is in since another time was reached."""
        for shift in _SHIFTS:
            start = expires >> shift << shift
            if key in self._sets.get(start, ()):
                return start
        raise KeyError(key)

    def _start(self, expires: int) -> int:
        shift = _SHIFT_OF[(expires ^ self._reached).bit_length()]
        return expires >> shift << shift
