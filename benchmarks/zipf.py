"""Draws Zipfian numbers as YCSB does, so that few keys get most of the calls. Pure.

The algorithm is that of "Quickly Generating Billion-Record Synthetic Databases" (Gray et al., SIGMOD 1994), which
YCSB's ZipfianGenerator takes; the constant 0.99 is YCSB's. YCSB scatters the popular numbers over the keyspace by a
hash (FNV-1a of 64 bits) for mixes A, B, C and F; for D, popular is what was written last.
"""

from __future__ import annotations

import math
from random import Random

THETA = 0.99

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 1_099_511_628_211


def zeta(count: int, theta: float = THETA) -> float:
    """The sum of ``1 / n ** theta`` for n from 1 to `count`."""
    return sum(math.pow(number, -theta) for number in range(1, count + 1))


class Zipfian:
    """Draws ranks from 0 to `count` - 1, of which 0 is the most frequent one.

    :param count: how many ranks there are; at least 1.
    :param random: where its randomness comes from.
    """

    def __init__(self, count: int, random: Random, theta: float = THETA) -> None:
        if count < 1:
            raise ValueError(f"a zipfian draw needs at least 1 rank, found {count}")
        self._count = count
        self._random = random
        self._total = zeta(count, theta)
        self._second = 1 + 0.5**theta
        self._alpha = 1 / (1 - theta)
        self._eta = (1 - (2 / count) ** (1 - theta)) / (1 - zeta(2, theta) / self._total) if count > 2 else 0.0

    def draw(self) -> int:
        """The next rank."""
        share = self._random.random()
        scaled = share * self._total
        if scaled < 1 or self._count == 1:
            return 0
        if scaled < self._second or self._count == 2:
            return 1
        return min(int(self._count * (self._eta * share - self._eta + 1) ** self._alpha), self._count - 1)


def fnv(number: int) -> int:
    """YCSB's hash of a number: FNV-1a over its eight bytes, the lowest first; without the sign that it has in Java."""
    hashed = _FNV_OFFSET
    for _ in range(8):
        hashed = ((hashed ^ (number & 0xFF)) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
        number >>= 8
    return min(hashed, 2**64 - hashed)


def scattered(rank: int, count: int) -> int:
    """The number, below `count`, of the document that has a rank."""
    return fnv(rank) % count
