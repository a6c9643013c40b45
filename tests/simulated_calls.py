"""What truly happened to each key in a simulated run, and what its clients' calls came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs

from pyshard.model import document_encoding
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Pop, Remove, Run, Write

#: Verbs that store a value. "add" and "swap" are writes with a condition: that the key doesn't exist; that it has the
#: version last seen.
STORING = ("write", "add", "swap")

Place = tuple[str, str]  # index and key


class Truth:
    """What happened at the stores."""

    def __init__(self) -> None:
        self.moment = 0
        self.values: dict[Place, list[tuple[int, int | None]]] = {}  # moment → what the key has from then on
        self.stored: dict[int, list[int]] = {}  # value → the moments at which a shard was told to store it
        self.taken: dict[int, tuple[int, str]] = {}  # value → when it was removed, and by which verb
        self.takes: Counter[tuple[Place, str]] = Counter()  # how often a shard was told to pop or remove

    def timeline(self, place: Place) -> list[tuple[int, int | None]]:
        """The values of a key, with the moment from which on each stood."""
        return self.values.setdefault(place, [(0, None)])

    def applied(self, run: Run, answer: Answer) -> None:
        """Write down a run that a store has applied."""
        for position, key in enumerate(run.keys):
            if position in answer.errors:
                continue
            self.moment += 1
            place, result = (run.index, key.decode()), answer.results[position]
            line = self.timeline(place)
            if isinstance(run, Write):
                value = document_encoding.decode(run.records[position])
                assert isinstance(value, int)
                self.stored.setdefault(value, []).append(self.moment)
                if result:
                    line.append((self.moment, value))
            elif isinstance(run, Pop | Remove):
                verb = "pop" if isinstance(run, Pop) else "remove"
                self.takes[place, verb] += 1
                old = line[-1][1]
                assert (old is None) == (result is None)
                if old is not None:
                    self.taken[old] = (self.moment, verb)
                    line.append((self.moment, None))

    def lost(self, place: Place) -> None:
        """Write down that a key went with its store."""
        self.moment += 1
        self.timeline(place).append((self.moment, None))

    def was(self, place: Place, holds: Callable[[int | None], bool], first: int, last: int) -> bool:
        """Whether a key had such a value at some moment from first to last."""
        line = [*self.timeline(place), (self.moment + 1, None)]
        return any(holds(value) and begin <= last and end > first for (begin, value), (end, _) in pairwise(line))


@attrs.define(eq=False)
class Call:
    """One call of one client."""

    client: int
    place: Place
    verb: str
    value: int
    issued: int
    due: float
    seen: int | None = None  # of a swap: the value of the version that the key must have
    answered: int = -1
    late: bool = False
    outcome: Any = None

    @property
    def changes(self) -> bool:
        return self.verb not in ("read", "item", "has")
