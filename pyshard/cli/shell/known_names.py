"""The names that a shell completes: indexes, keys that were typed, and a sample of those that there are. Pure.

Keys come in the order of their hashes, so nobody can ask for those that begin in some way. Who completes a key mostly
means one used before, or wants to see how keys look. So these are kept, and a bounded sample is fetched.

Rules:

- the newest keys come first, those of the sample behind them;
- a key that would command the terminal isn't offered: whoever may write may have made it;
- a sample is used for a while, also an empty one: a cluster that is away isn't asked at each press of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyshard.message_texts import can_be_shown

_SEEN = 500  # keys of an index that are remembered
_OFFERED = 200  # keys that are offered at a time
_FRESH = 30.0  # seconds for which a sample is used


class KnownNames:
    """What a shell has seen.

    :param sample: gives some keys of an index; None is the default one.
    :param indexes: gives the names of all indexes.
    :param seconds: the clock.
    """

    def __init__(
        self,
        sample: Callable[[str | None], Iterable[str]],
        indexes: Callable[[], Iterable[str]],
        seconds: Callable[[], float],
    ) -> None:
        self._sample = sample
        self._indexes = indexes
        self._seconds = seconds
        self._seen: dict[str | None, dict[str, None]] = {}
        self._samples: dict[str | None, tuple[float, list[str]]] = {}
        self._found_indexes: tuple[float, list[str]] | None = None

    def saw(self, index: str | None, key: str) -> None:
        """A command used a key."""
        seen = self._seen.setdefault(index, {})
        seen.pop(key, None)
        seen[key] = None
        if len(seen) > _SEEN:
            del seen[next(iter(seen))]

    def keys(self, index: str | None, start: str) -> list[str]:
        """The known keys of an index that begin so."""
        now = self._seconds()
        made, sample = self._samples.get(index, (-_FRESH, []))
        if now - made >= _FRESH:
            sample = list(self._sample(index))
            self._samples[index] = self._seconds(), sample
        known = dict.fromkeys([*reversed(self._seen.get(index, {})), *sample])
        return [key for key in known if key.startswith(start) and can_be_shown(key)][:_OFFERED]

    def indexes(self, start: str) -> list[str]:
        """The indexes whose names begin so."""
        if self._found_indexes is None or self._seconds() - self._found_indexes[0] >= _FRESH:
            self._found_indexes = self._seconds(), list(self._indexes())
        return [name for name in self._found_indexes[1] if name.startswith(start)]
