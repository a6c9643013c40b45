"""Whether the recorded history of one key can be explained: a linearizability checker, after Wing and Gong.

The search looks for an order of all operations in which each has the result that it would have had if they had been
done one after another, and in which none stands before one that had ended when it was called. What it doesn't try:

- positions that were reached before: the same operations done, and the same state (Lowe's memoization); nor those that
  are the same but for more operations whose answers were lost;
- an operation whose answer was lost where it doesn't matter: it comes directly before one that it makes another result
  or state for. If it happened earlier, it might as well have happened there, or never;
- anything else, while an operation that never changes anything may come next, and fits: what comes after it could come
  after it anyway.

Beyond that:

- an operation whose answer was lost may have happened at any time after its call, or never;
- operations of one client are in the order in which it called them, if one of them may change something: so one whose
  answer was lost happens before all that its client called later, or never. Bulk verbs have that order only with what
  was called when they had ended, and what had ended when they were called.

Rules of the model: a key has an int, which no other change of that key gives it, and may have a time to live that
doesn't run out. A version is known by the value that it goes with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import inf
from typing import TypeAlias

import attrs

#: What a key has: its value, and whether it has a time to live. None: nothing.
State: TypeAlias = tuple[int, bool] | None

READS = ("read", "item", "has")

#: The conditions that the key doesn't exist, and that it does.
ABSENT, PRESENT = "absent", "present"


class Unknown:
    """The result of an operation whose answer was lost."""

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()


@attrs.frozen
class Operation:
    """One operation on the key.

    :param client: whose it is.
    :param verb: `read`, `item`, `has`, `write`, `pop`, `remove`, `touch` or `increment`.
    :param called: when it was called, on a clock that all clients share.
    :param returned: when its client was told of its end; inf: never.
    :param result: a value or None (read, pop), a `State` (item), whether it found or did something (has, write, remove,
        touch), the sum (increment); or `UNKNOWN`.
    :param value: what is written; what is added.
    :param initial: of an increment.
    :param condition: the value that the key must have, `ABSENT`, `PRESENT`, or None.
    :param expires: whether it gives the key a time to live; an increment does so where it creates the key.
    :param bulk: the bulk verb that it belongs to, or what else has no order with what is called meanwhile.
    """

    client: object
    verb: str
    called: float
    returned: float
    result: object
    value: int = 0
    initial: int = 0
    condition: int | str | None = None
    expires: bool = False
    bulk: int | None = None

    @property
    def maybe(self) -> bool:
        """Whether it is not known to have happened."""
        return self.result is UNKNOWN

    @property
    def changes_nothing(self) -> bool:
        """Whether it is known to have left the key as it found it, whatever that was."""
        return self.verb in READS or (self.verb != "increment" and (self.result is None or self.result is False))

    @property
    def by(self) -> float:
        """When it must have happened."""
        return inf if self.maybe else self.returned


#: The operation that was done last, if its answer was lost, and the state before it.
Lost: TypeAlias = tuple[int, State]


class NotLinearizable(AssertionError):
    """There is no such order."""


class Undecided(Exception):
    """The search took too many steps."""


def done(state: State, one: Operation) -> tuple[State, object]:
    """What an operation makes of a state, and its result."""
    met = _met(one.condition, state)
    if one.verb == "read":
        return state, state and state[0]
    if one.verb == "item":
        return state, state
    if one.verb == "has":
        return state, state is not None
    if one.verb == "write":
        return ((one.value, one.expires), True) if met else (state, False)
    if one.verb == "pop":
        return (None, state[0]) if state and met else (state, None)
    if one.verb == "remove":
        return (None, True) if state and met else (state, False)
    if one.verb == "touch":
        return ((state[0], one.expires), True) if state and met else (state, False)
    assert one.verb == "increment"
    value = (one.initial if state is None else state[0]) + one.value
    return (value, one.expires if state is None else state[1]), value


def _met(condition: int | str | None, state: State) -> bool:
    """Whether a condition holds."""
    if condition is None:
        return True
    if condition in (ABSENT, PRESENT):
        return (state is None) == (condition == ABSENT)
    return state is not None and state[0] == condition


def check(operations: Iterable[Operation], state: State = None, most: int = 200_000) -> None:
    """Look for an order that explains the operations on one key.

    :param operations: in the order in which each client called them.
    :param state: what the key has at first.
    :param most: how many positions to look at.
    :raises NotLinearizable: there is none; the message tells where the search got stuck.
    :raises Undecided: none was found within `most` positions.
    """
    _Search(list(operations), state).run(most)


class _Search:
    """A walk through the orders; what isn't done yet is a linked list, by the time of the call."""

    def __init__(self, operations: Sequence[Operation], state: State) -> None:
        self._before = _called_before(operations)
        order = sorted(range(len(operations)), key=lambda place: operations[place].called)
        self._operations = operations
        self._end = len(operations)
        self._next = dict(zip([self._end, *order], [*order, self._end], strict=True))
        self._previous = {after: before for before, after in self._next.items()}
        self._gone = [False] * len(operations)
        self._left = sum(not one.maybe for one in operations)
        self._state = state
        self._mask = 0
        self._lost: Lost | None = None

    def run(self, most: int) -> None:
        reached = _Reached(self._operations)
        stack: list[tuple[list[tuple[int, State]], list[int], State, int, Lost | None]] = []
        candidates = self._candidates()
        fewest, stuck = self._left + 1, ""
        while self._left:
            if self._left < fewest:
                fewest, stuck = self._left, self._described()
            if candidates:
                place, state = candidates.pop()
                lifted = [*(one for one in self._before[place] if not self._gone[one]), place]
                mask = self._mask
                for one in lifted:
                    mask |= 1 << one
                lost = (place, self._state) if self._operations[place].maybe else None
                if not reached.is_new(mask, state, lost):
                    continue
                if reached.count > most:
                    raise Undecided(f"no order of {len(self._operations)} operations in {most:,} positions")
                stack.append((candidates, lifted, self._state, self._mask, self._lost))
                self._lift(lifted)
                self._state, self._mask, self._lost = state, mask, lost
                candidates = self._candidates()
            elif stack:
                candidates, lifted, self._state, self._mask, self._lost = stack.pop()
                self._put_back(lifted)
            else:
                raise NotLinearizable(stuck)

    def _candidates(self) -> list[tuple[int, State]]:
        """What may come next, and the state behind it; the most likely last."""
        found: list[tuple[int, State]] = []
        unlikely: list[tuple[int, State]] = []
        by = inf
        place = self._next[self._end]
        while place != self._end and self._operations[place].called < by:
            one = self._operations[place]
            by = min(by, one.by)
            if all(self._gone[other] or self._operations[other].maybe for other in self._before[place]):
                state, result = done(self._state, one)
                fits = one.maybe or _same(result, one.result)
                if fits and not (one.maybe and state == self._state) and self._matters(place, state):
                    if one.changes_nothing and all(self._gone[other] for other in self._before[place]):
                        return [(place, state)]
                    (unlikely if one.maybe else found).append((place, state))
            place = self._next[place]
        return unlikely + found[::-1]

    def _matters(self, place: int, after: State) -> bool:
        """Whether it matters for an operation that the last one, whose answer was lost, comes right before it.

        :param after: the state behind both.
        """
        if self._lost is None:
            return True
        last, before = self._lost
        if last in self._before[place]:
            return True
        one = self._operations[place]
        alone, result = done(before, one)
        if not one.maybe and not _same(result, one.result):
            return True
        if alone == after:
            return False  # as if the lost one had never happened
        swapped = done(alone, self._operations[last])[0] == after
        return not swapped or (one.maybe and place > last)  # two lost ones are tried in one order

    def _lift(self, places: Sequence[int]) -> None:
        for place in places:
            self._gone[place] = True
            self._left -= not self._operations[place].maybe
            before, after = self._previous[place], self._next[place]
            self._next[before], self._previous[after] = after, before

    def _put_back(self, places: Sequence[int]) -> None:
        for place in reversed(places):
            self._gone[place] = False
            self._left += not self._operations[place].maybe
            before, after = self._previous[place], self._next[place]
            self._next[before], self._previous[after] = place, place

    def _described(self) -> str:
        """Where the search is."""
        lines = [f"{self._left} operations left, and the key has {self._state}; what would come next:"]
        place = self._next[self._end]
        for _ in range(12):
            if place == self._end:
                break
            lines.append(f"  {self._operations[place]}")
            place = self._next[place]
        return "\n".join(lines)


class _Reached:
    """The positions that were reached.

    One is not new when another has the same state, the same answers behind it, and no more lost operations: whatever
    goes on from the one goes on from the other.

    :ivar count: how many there are.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._maybe = sum(1 << place for place, one in enumerate(operations) if one.maybe)
        self._found: dict[tuple[int, State], list[tuple[int, Lost | None]]] = defaultdict(list)
        self.count = 0

    def is_new(self, mask: int, state: State, lost: Lost | None) -> bool:
        """Put a position down; whether it is new."""
        gone = mask & self._maybe
        found = self._found[mask ^ gone, state]
        if any(other & ~gone == 0 and (last is None or last == lost) for other, last in found):
            return False
        found.append((gone, lost))
        self.count += 1
        return True


def _same(result: object, expected: object) -> bool:
    return result == expected and type(result) is type(expected)


def _called_before(operations: Sequence[Operation]) -> list[list[int]]:
    """For each operation, which of the same client come before it, as far as their times don't say so already."""
    before: list[list[int]] = []
    of_client: dict[object, list[int]] = defaultdict(list)
    for place, one in enumerate(operations):
        found = []
        for earlier in of_client[one.client]:
            other = operations[earlier]
            if other.by < one.called or (other.verb in READS and one.verb in READS):
                continue
            single = other.bulk is None and one.bulk is None
            if single or other.bulk == one.bulk or other.returned < one.called:
                found.append(earlier)
        before.append(found)
        of_client[one.client].append(place)
    return before


def by_key(operations: Iterable[tuple[object, Operation]]) -> dict[object, list[Operation]]:
    """The history of each key, out of pairs of a key and an operation."""
    histories: dict[object, list[Operation]] = defaultdict(list)
    for key, one in operations:
        histories[key].append(one)
    return histories
