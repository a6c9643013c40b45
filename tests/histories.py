"""Recorded histories: random calls of any verbs on few keys, what came of them, and the check that it makes sense.

It knows nothing of how the clients run: whoever has them takes a `Call` from `Recorder.plan`, makes it with `invoke`,
and tells `Recorder.began` and `Recorder.ended`. So Deferred clients in memory and threads with a blocking one over
real sockets are recorded and checked in the same way. Rules that `Recorder.check` keeps:

- a call ends with an answer, or with an error of the classes that it may end with;
- the history of each key is linearizable, in the order of each client (`linearizability`), with listings of keys as a
  look for each key; so is that of each index;
- a version belongs to one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, TypeAlias

import attrs
from linearizability import ABSENT, READS, UNKNOWN, Operation, by_key, check
from twisted.internet.defer import Deferred

from pyshard import Client, Pyshard
from pyshard.errors import IndexExists, IndexNotFound, OutcomeUnknown, PartialFailure, Unavailable

#: The index that has documents, beside the default one; and one that comes and goes, and has none.
PAGES, FLEETING = "pages", "fleeting"

_SINGLE = ["write", "read", "item", "has", "pop", "remove", "touch", "increment"]
_BULK = ["write_many", "read_many", "has_many", "pop_many", "remove_many"]
_OTHER = ["keys", "stat", "create_index", "drop_index", "indexes"]
_WEIGHTS = {"write": 5, "read": 4, "item": 4, "increment": 3, "stat": 0.3, "keys": 0.5}

#: What is written differs by this much, so that increments never make one value into another.
_APART = 1_000_000
_LONG = 100_000  # seconds; nothing expires in a run

#: Index and key of a document; or `FLEETING` alone.
Place: TypeAlias = tuple[str, ...]


@attrs.define(eq=False)
class Call:
    """One call.

    :ivar keys: of a single verb one, of others any number.
    :ivar values: what is written for each key, or added to it.
    :ivar condition: the version that the key must have, or `ABSENT`; `wanted` is the value of that version.
    :ivar ttl: seconds; None: none.
    :ivar began: when, in the recorder's moments; as `ended`, which is 0 before.
    """

    client: int
    number: int
    verb: str
    index: str = ""
    keys: Sequence[str] = ()
    values: Sequence[int] = ()
    condition: int | str | None = None
    wanted: int | None = None
    ttl: float | None = None
    deadline: float | None = None
    began: int = 0
    ended: int = 0
    outcome: Any = None

    @property
    def bulk(self) -> int | None:
        """Its number, if it is a bulk verb."""
        return self.number if self.verb in _BULK else None

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.verb.partition("_many")[0] not in (*READS, "keys", "stat", "indexes")


def invoke(client: Client | Pyshard, call: Call) -> Any:
    """Make a call; what the client's method gives, a Deferred or the result."""
    if isinstance(client, Client) and call.verb == "keys":
        return Deferred.fromCoroutine(_listed(client, call))
    options: dict[str, Any] = {"deadline": call.deadline}
    arguments: list[Any] = []
    if call.verb in _BULK:
        arguments = [list(zip(call.keys, call.values, strict=True)) if call.values else call.keys]
    elif call.verb in ("create_index", "drop_index"):
        arguments = [FLEETING]
    elif call.verb in _SINGLE:
        arguments = [call.keys[0]]
        if call.condition is ABSENT:
            options["if_absent"] = True
        elif call.condition is not None:
            options["if_version"] = call.condition
    if call.verb == "write":
        arguments.append(call.values[0])
    elif call.verb == "increment":
        options.update(by=1, initial=call.values[0])
    if call.verb in (*_SINGLE, *_BULK, "keys"):
        options["index"] = call.index or None
    if call.verb in ("write", "write_many", "touch"):
        options["ttl"] = call.ttl
    found = getattr(client, call.verb)(*arguments, **options)
    return list(found) if call.verb == "keys" else found


async def _listed(client: Client, call: Call) -> list[str]:
    return [key async for key in client.keys(call.index or None, deadline=call.deadline)]


class Recorder:
    """Plans calls, and keeps what became of them.

    :param keys: those of each index.
    :param random: chooses. Threads that plan need one each: `plan` takes another.
    :ivar versions: (client, place) → the version that the client saw last, and its value.
    """

    def __init__(self, keys: Sequence[str], random: Random) -> None:
        self.keys = keys
        self.calls: list[Call] = []
        self.versions: dict[tuple[int, Place], tuple[int, int]] = {}
        self._random = random
        self._moments = count(1)
        self._values = count(1)
        self._numbers = count()

    def plan(self, client: int, random: Random | None = None) -> Call:
        """A random call for a client to make."""
        random = random or self._random
        verbs = [*_SINGLE, *_BULK, *_OTHER]
        (verb,) = random.choices(verbs, [_WEIGHTS.get(one, 1) for one in verbs])
        call = Call(client, next(self._numbers), verb, random.choice(["", PAGES]))
        call.ttl = random.choice([None, None, _LONG])
        if verb in _SINGLE:
            call.keys = [random.choice(self.keys)]
            seen = self.versions.get((client, (call.index, call.keys[0])))
            if verb == "write" and random.random() < 0.25:
                call.condition = ABSENT
            elif verb in ("write", "pop", "remove") and seen and random.random() < 0.4:
                call.condition, call.wanted = seen
        elif verb in _BULK:
            call.keys = random.choices(self.keys, k=random.choice([1, 2, 5, 10]))
        if verb in ("write", "write_many", "increment"):
            call.values = [next(self._values) * _APART for _ in call.keys]
        return call

    def began(self, call: Call) -> None:
        """The call is about to be made."""
        call.began = next(self._moments)
        self.calls.append(call)

    def ended(self, call: Call, outcome: object) -> None:
        """The call has come to its end: what it gave, or the exception that it raised."""
        call.ended = next(self._moments)
        call.outcome = outcome
        if call.verb == "item" and isinstance(outcome, dict):
            self.versions[call.client, (call.index, call.keys[0])] = outcome["version"], outcome["record"]

    def check(self) -> Tally:
        """Check everything.

        :raises AssertionError: something isn't as it should be.
        """
        tally = Tally(len(self.calls))
        for call in self.calls:
            self._check_outcome(call, tally)
        self._check_versions()
        histories = by_key(pair for call in self.calls for pair in self.operations(call))
        for place, history in histories.items():
            tally.operations += len(history)
            try:
                check(history)
            except AssertionError as error:
                raise AssertionError(f"{place}: {error}") from None
        tally.histories = len(histories)
        return tally

    def operations(self, call: Call) -> Iterator[tuple[Place, Operation]]:
        """What a call did on each place, as far as it may have done something."""
        if call.verb == "stat" or (isinstance(call.outcome, Exception) and call.verb in ("keys", "indexes")):
            return
        if call.verb in ("keys", "indexes"):
            places = [(call.index, key) for key in self.keys] if call.verb == "keys" else [(FLEETING,)]
            for place in places:
                there = place[-1] in call.outcome
                # As if by another client: listings are not in the order of what their client calls meanwhile.
                yield place, Operation(f"listing {call.number}", "has", call.began, call.ended, there)
        elif call.verb in ("create_index", "drop_index"):
            verb, condition = ("write", ABSENT) if call.verb == "create_index" else ("remove", None)
            result = _index_result(call.outcome)
            if not isinstance(result, Unavailable):
                yield (FLEETING,), Operation(call.client, verb, call.began, call.ended, result, 0, condition=condition)
        else:
            yield from self._on_keys(call)

    def _on_keys(self, call: Call) -> Iterator[tuple[Place, Operation]]:
        verb = call.verb.removesuffix("_many")
        outcomes = _outcomes(call)
        assert len(outcomes) == len(call.keys), call
        for position, (key, outcome) in enumerate(zip(call.keys, outcomes, strict=True)):
            if isinstance(outcome, Unavailable) or (isinstance(outcome, Exception) and not call.changes):
                continue
            value = 1 if verb == "increment" else call.values[position] if call.values else 0
            yield (
                (call.index, key),
                Operation(
                    call.client,
                    verb,
                    call.began,
                    call.ended,
                    UNKNOWN if isinstance(outcome, Exception) else _result(verb, outcome),
                    value,
                    initial=call.values[position] if verb == "increment" else 0,
                    condition=ABSENT if call.condition is ABSENT else call.wanted,
                    expires=call.ttl is not None,
                    bulk=call.bulk,
                ),
            )

    def _check_outcome(self, call: Call, tally: Tally) -> None:
        assert call.ended, f"{call} never ended"
        for outcome in _outcomes(call) if call.keys else [call.outcome]:
            if isinstance(outcome, Exception):
                allowed: tuple[type[Exception], ...] = (Unavailable,)
                if call.changes:
                    allowed = (Unavailable, OutcomeUnknown)
                if call.verb in ("create_index", "drop_index"):
                    allowed = (*allowed, IndexExists if call.verb == "create_index" else IndexNotFound)
                assert type(outcome) in allowed, f"{call} ended with {outcome!r}"
                tally.unknown += isinstance(outcome, OutcomeUnknown)
                tally.unavailable += isinstance(outcome, Unavailable)
        tally.verbs[call.verb] += not isinstance(call.outcome, Exception)

    def _check_versions(self) -> None:
        values: dict[tuple[Place, int], int] = {}
        for call in self.calls:
            if call.verb == "item" and isinstance(call.outcome, dict):
                version, value = call.outcome["version"], call.outcome["record"]
                known = values.setdefault(((call.index, call.keys[0]), version), value)
                assert known == value, f"version {version} had {known} and {value}: {call}"


@attrs.define
class Tally:
    """What a run came to."""

    calls: int
    histories: int = 0
    operations: int = 0
    unknown: int = 0
    unavailable: int = 0
    verbs: Counter[str] = attrs.Factory(Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.calls + other.calls,
            self.histories + other.histories,
            self.operations + other.operations,
            self.unknown + other.unknown,
            self.unavailable + other.unavailable,
            self.verbs + other.verbs,
        )

    def __str__(self) -> str:
        return (
            f"{self.histories:,} histories of {self.operations:,} operations in {self.calls:,} calls, "
            f"{self.unknown:,} with unknown outcome, {self.unavailable:,} unavailable"
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """Several runs together."""
    return sum(tallies, Tally(0))


def _outcomes(call: Call) -> Sequence[object]:
    """What became of each key."""
    if isinstance(call.outcome, PartialFailure):
        assert [key for key, _ in call.outcome.outcomes] == list(call.keys), call
        return [outcome for _, outcome in call.outcome.outcomes]
    if call.bulk is None or isinstance(call.outcome, Exception):
        return [call.outcome] * max(1, len(call.keys))
    found: Sequence[object] = call.outcome
    return found


def _result(verb: str, outcome: Any) -> object:
    """An outcome as the model has it."""
    if verb in ("read", "pop"):
        return outcome and outcome["record"]
    if verb == "item":
        return outcome and (outcome["record"], outcome["ttl"] is not None)
    return outcome if verb == "increment" else bool(outcome)


def _index_result(outcome: object) -> object:
    if isinstance(outcome, Unavailable):
        return outcome
    if isinstance(outcome, OutcomeUnknown):
        return UNKNOWN
    return not isinstance(outcome, Exception)
