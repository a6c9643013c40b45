"""Where a key lies: key → text → slot. Pure.

Rules:

- one key is its text in UTF-8, so 1 and "1" are the same key;
- the hash is the original pyshard's, ``float(int(md5(text).hexdigest(), 16) % 1e7) / 1e7``, a number in [0, 1);
- inside the code a hash is an integer, the *slot*: hash × 10⁷. There are floats at the edges only;
- the original's arithmetic in floats leaves 78,125 distinct slots, the multiples of 128;
- each function over many keys agrees with its plain twin, which is its fallback, or the function for one key;
- where `pyshard.compiled` is in use, slots and texts are made there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias, cast, overload

from pyshard.compiled import IN_USE, key_leaves
from pyshard.errors import InvalidKey, shown_value
from pyshard.settings import settings

try:
    # The interpreter's own. For texts as short as keys it is twice as fast as OpenSSL's, which `hashlib.md5` gives.
    from _md5 import md5  # type: ignore[import-not-found]  # typeshed doesn't list it
except ImportError:  # pragma: no cover  # an interpreter that was built without it
    md5 = partial(hashlib.md5, usedforsecurity=False)

#: What a key can be.
Key: TypeAlias = str | int | float

#: How many slots the keyspace has. A slot is 0 … SLOTS - 1.
SLOTS = 10_000_000

_MODULUS = 1e7
_SHOWN_BITS = 2_000  # more of them may be more digits than Python turns into text, 640 at the least

# The original takes the remainder of two floats, which is exact. The same number as an int has the same remainder, in a
# third of the time.
_from_bytes = int.from_bytes
_digest = type(md5(b"")).digest
_truncated = float.__trunc__  # of a whole float: what `int` gives, quicker


def key_bytes(key: Key) -> bytes:
    """The text of a key in UTF-8, as it crosses the wire and is stored.

    :param key: a str, int or float (subclasses count as their base; bool doesn't count as int).
    :raises InvalidKey: for another type, a str that UTF-8 can't carry, or a text of more than
        `settings.MAX_KEY_BYTES` bytes.
    """
    if type(key) is str:
        text = key
    elif isinstance(key, bool) or not isinstance(key, (str, int, float)):
        raise InvalidKey(f"key {shown_key(key)} is of type {type(key).__name__}; a key is a str, int or float")
    elif isinstance(key, str):
        text = str.__str__(key)
    else:
        try:
            text = int.__repr__(key) if isinstance(key, int) else float.__repr__(key)
        except ValueError:
            raise InvalidKey("the int given as a key has too many digits; use a shorter one") from None
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidKey(f"key {shown_key(key)} has lone surrogates, which UTF-8 can't carry; use text") from None
    if len(encoded) > settings.MAX_KEY_BYTES:
        raise InvalidKey(
            f"key {shown_key(key)} has {len(encoded):,} bytes in UTF-8; a key has at most {settings.MAX_KEY_BYTES:,}"
        )
    return encoded


def keys_bytes(keys: Sequence[Key]) -> list[bytes]:
    """The texts of many keys; see `key_bytes`."""
    texts = key_leaves.keys_bytes(keys, settings.MAX_KEY_BYTES) if IN_USE else _joined_keys_bytes(keys)
    return keys_bytes_plainly(keys) if texts is None else texts


def keys_bytes_plainly(keys: Sequence[Key]) -> list[bytes]:
    """What `keys_bytes` gives, one by one."""
    return [key_bytes(key) for key in keys]


def _joined_keys_bytes(keys: Sequence[Key]) -> list[bytes] | None:
    """What `keys_bytes` gives for keys that are all str; None: they aren't, or one of them can't be a key.

    They are encoded in one call, joined by zeros. A zero in a key is noticed by their number.
    """
    if list(map(type, keys)).count(str) < len(keys):
        return None
    try:
        together = "\0".join(cast("Sequence[str]", keys)).encode()
    except UnicodeEncodeError:
        return None
    texts = together.split(b"\0")
    longest = settings.MAX_KEY_BYTES
    fit = len(texts) == len(keys) and (len(together) <= longest or max(map(len, texts)) <= longest)
    return texts if fit else None


def slot_of_plainly(key: bytes, index: bytes = b"") -> int:
    """What `slot_of` gives, as the original pyshard computes it."""
    text = index + b":" + key if index else key
    return int(float(_from_bytes(md5(text).digest(), "big"))) % SLOTS


def slots_of_plainly(keys: Iterable[bytes], index: bytes = b"") -> list[int]:
    """What `slots_of` gives, by calls in C over all keys."""
    if index:
        prefix = index + b":"
        keys = [prefix + key for key in keys]
    numbers = map(float, map(_from_bytes, map(_digest, map(md5, keys))))  # big-endian is the default
    return [number % SLOTS for number in map(_truncated, numbers)]


#: The slot of a key, 0 … 9,999,999, given the key's text (`key_bytes`) and the index's name in UTF-8, which is empty
#: for the default index. In a named index the text that is hashed is ``index:key``, in the default one the key alone.
slot_of: Callable[..., int] = key_leaves.slot_of if IN_USE else slot_of_plainly

#: The slot of each of many keys: what `slot_of` gives for each.
slots_of: Callable[..., list[int]] = key_leaves.slots_of if IN_USE else slots_of_plainly


class LazySlots(Sequence[int]):
    """The slot of each of many keys, computed when the first one is asked for; see `slot_of`."""

    def __init__(self, keys: Sequence[bytes], index: bytes = b"") -> None:
        self._keys = keys
        self._index = index
        self._found: list[int] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> list[int]: ...
    def __getitem__(self, position: int | slice) -> int | list[int]:
        return self._slots()[position]

    def __iter__(self) -> Iterator[int]:
        return iter(self._slots())

    def _slots(self) -> list[int]:
        if self._found is None:
            self._found = slots_of(self._keys, self._index)
        return self._found


def slot_to_hash(slot: int) -> float:
    """The hash of a slot: 1671936 → 0.1671936."""
    return slot / _MODULUS


def hash_to_slot(value: float) -> int:
    """The slot of a hash, or the one nearest to a range's bound: 0.5 → 5,000,000. 1.0 gives `SLOTS`, the end of all.

    :raises ValueError: it is outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no number from 0 to 1")
    return round(value * _MODULUS)


def shown_key(key: object) -> str:
    """A key as messages show it: its repr, cut. Of a huge int, and of what is no key at all, only the type is shown."""
    huge = isinstance(key, int) and key.bit_length() > _SHOWN_BITS
    if key is not None and (huge or not isinstance(key, (str, int, float, bytes))):
        return f"<{type(key).__name__}>"
    return shown_value(key)
