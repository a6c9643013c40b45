"""Key → text → slot. Pure.

The hash is the seed's, ``float(int(md5(text).hexdigest(), 16) % 1e7) / 1e7``, a number in [0, 1). Inside the
code a hash is its integer *slot* = hash × 10⁷; floats live at the edges only. The arithmetic in floats leaves
78,125 distinct slots (multiples of 128).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias, cast, overload

from pyshard.errors import InvalidKey
from pyshard.settings import settings

try:
    # The interpreter's own: for texts as short as keys twice as fast as OpenSSL's, which `hashlib.md5` gives.
    from _md5 import md5  # type: ignore[import-not-found]  # typeshed doesn't list it
except ImportError:  # pragma: no cover  # an interpreter that was built without it
    md5 = partial(hashlib.md5, usedforsecurity=False)

#: What a key can be: one key is its text, so 1 and "1" are the same key.
Key: TypeAlias = str | int | float

#: How many slots the keyspace has; a slot is 0 … SLOTS - 1.
SLOTS = 10_000_000

_MODULUS = 1e7

# The seed's remainder, of two floats, is exact: so is this module's, of the same number as an int, and a third as long.
_from_bytes = int.from_bytes
_digest = type(md5(b"")).digest
_truncated = float.__trunc__  # for a whole float the same as `int`, and quicker


def key_bytes(key: Key) -> bytes:
    """The UTF-8 text of a key, as it crosses the wire and is stored.

    :param key: a str, int or float (subclasses count as their base; bool doesn't count as int).
    :raises InvalidKey: for another type, a str that UTF-8 can't carry, or a text of more than
        `settings.MAX_KEY_BYTES` bytes.
    """
    if type(key) is str:
        text = key
    elif isinstance(key, bool) or not isinstance(key, (str, int, float)):
        raise InvalidKey(f"key {_shown(key)} is of type {type(key).__name__}; a key is a str, int or float")
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
        raise InvalidKey(f"key {_shown(key)} has lone surrogates, which UTF-8 can't carry; use text") from None
    if len(encoded) > settings.MAX_KEY_BYTES:
        raise InvalidKey(
            f"key {_shown(key)} has {len(encoded):,} bytes in UTF-8; a key has at most {settings.MAX_KEY_BYTES:,}"
        )
    return encoded


def keys_bytes(keys: Sequence[Key]) -> list[bytes]:
    """The texts of many keys; see `key_bytes`."""
    if list(map(type, keys)).count(str) == len(keys):
        try:
            together = "\0".join(cast("Sequence[str]", keys)).encode()
        except UnicodeEncodeError:
            pass  # below it turns out which one it is
        else:
            texts = together.split(b"\0")
            longest = settings.MAX_KEY_BYTES
            if len(texts) == len(keys) and (len(together) <= longest or max(map(len, texts)) <= longest):
                return texts  # else there is a zero in a key, or one that is too long
    return [key_bytes(key) for key in keys]


def slot_of(key: bytes, index: bytes = b"") -> int:
    """The slot of a key, 0 … 9,999,999.

    :param key: the key's text, as `key_bytes` gives it.
    :param index: the index's name in UTF-8; empty for the default index, whose text is the key alone, while a
        named index's is ``index:key``.
    """
    text = index + b":" + key if index else key
    return int(float(_from_bytes(md5(text).digest(), "big"))) % SLOTS


def slots_of(keys: Iterable[bytes], index: bytes = b"") -> list[int]:
    """The slot of each of many keys; see `slot_of`."""
    if index:
        prefix = index + b":"
        keys = [prefix + key for key in keys]
    numbers = map(float, map(_from_bytes, map(_digest, map(md5, keys))))  # big-endian, as is the default
    return [number % SLOTS for number in map(_truncated, numbers)]


class LazySlots(Sequence[int]):
    """The slot of each of many keys, computed when the first one is wanted; see `slot_of`."""

    def __init__(self, keys: Sequence[bytes], index: bytes = b"") -> None:
        self._keys = keys
        self._index = index
        self._found: list[int] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        return self._slots()[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self._slots())

    def _slots(self) -> list[int]:
        if self._found is None:
            self._found = slots_of(self._keys, self._index)
        return self._found


def slot_to_hash(slot: int) -> float:
    """The seed's hash of a slot: 1671936 → 0.1671936."""
    return slot / _MODULUS


def hash_to_slot(value: float) -> int:
    """The slot of a hash or a boundary, 0.5 → 5,000,000; 1.0 gives `SLOTS`, the end of the keyspace.

    :raises ValueError: when it is outside [0, 1] or has more than seven decimal places.
    """
    slot = round(value * _MODULUS) if 0 <= value <= 1 else -1
    if slot < 0 or abs(slot - value * _MODULUS) > 1e-3:
        raise ValueError(f"{value!r} is no number from 0 to 1 with at most seven decimal places")
    return slot


def _shown(key: object) -> str:
    """A key as an error message shows it: its repr, cut."""
    shown = repr(key) if isinstance(key, (str, float, bool, bytes)) or key is None else f"<{type(key).__name__}>"
    return shown if len(shown) <= 60 else shown[:57] + "..."
