"""Recorded histories: random calls of any verbs on few keys, what came of them, and the check that it makes sense.

It knows nothing of how the clients run: whoever has them takes a `Call` from `Recorder.plan`, makes it with
`history_calls.invoke`, and tells `Recorder.began` and `Recorder.ended`. So clients of all three faces, in memory and
over real sockets, in one process and in several, are recorded and checked in the same way. Rules that `Recorder.check`
keeps:

- a call ends with an answer, or with an error of the classes that it may end with, and by its deadline;
- the history of each key is linearizable, in the order of each client (`linearizability`), with listings as a look for
  each key; so is that of each index;
- a version belongs to one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any

import attrs
from history_calls import BULK, FLEETING, LISTINGS, Call, CutShort, Place, Versions, planned
from linearizability import ABSENT, UNKNOWN, Operation, by_key, check

from pyshard.errors import IndexExists, IndexNotFound, OutcomeUnknown, PartialFailure, Unavailable

_LATEST = 0.006  # seconds; the Deferred client's messages say a deadline to the hundredth, and it counts as it is said

_NONE = type(None)

#: What each verb on keys gives, for one of them.
_GIVES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("read", "pop", "item"), (dict, _NONE)),
    **dict.fromkeys(("write", "remove", "increment", "update"), (int,)),
    **dict.fromkeys(("has", "add", "replace", "touch"), (bool,)),
    "get": (int, _NONE),
}

#: What stands in what `item` gives, and `read`.
_ITEM, _RECORD = {"record", "version", "ttl"}, {"record"}


class Recorder:
    """Plans calls, and keeps what became of them.

    :param keys: those of each index.
    :param random: chooses. Threads that plan need one each: `plan` takes another.
    :param moment: gives a later number each time, also for the recorders of other processes whose calls are `taken`.
    :param first: the first of the values that are written; each recorder whose calls are checked together has others.
    :ivar faces: the face of each client, for the tally.
    """

    def __init__(
        self, keys: Sequence[str], random: Random, moment: Callable[[], int] | None = None, first: int = 1
    ) -> None:
        self.keys = keys
        self.calls: list[Call] = []
        self.faces: dict[int, str] = {}
        self._versions: Versions = {}
        self._doubts: dict[int, Place] = {}
        self._random = random
        self._moment = moment or partial(next, count(1))
        self._values = count(first)
        self._numbers = count()

    def plan(self, client: int, random: Random | None = None) -> Call:
        """A random call for a client to make."""
        number, random, doubt = next(self._numbers), random or self._random, self._doubts.get(client)
        return planned(client, number, self.keys, random, self._versions, doubt, partial(next, self._values))

    def began(self, call: Call) -> None:
        """The call is about to be made."""
        call.began = self._moment()
        self.calls.append(call)

    def ended(self, call: Call, outcome: object) -> None:
        """The call has come to its end: what it gave, or the exception that it raised."""
        call.ended = self._moment()
        call.outcome = outcome
        if call.verb == "item" and isinstance(outcome, dict) and outcome.keys() >= _ITEM:
            self._versions[call.client, (call.index, call.keys[0])] = outcome["version"], outcome["record"]
        if call.changes and call.keys and isinstance(outcome, OutcomeUnknown | CutShort):
            self._doubts[call.client] = call.index, call.keys[0]

    def taken(self, calls: Iterable[Call]) -> None:
        """Take up the calls of another recorder."""
        self.calls += calls
        self.calls.sort(key=lambda call: call.began)

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
        if call.verb == "stat" or (isinstance(call.outcome, Exception) and not call.changes):
            return
        if call.verb in LISTINGS:
            for key in self.keys:
                yield (call.index, key), _listed(call, key, dict(call.outcome) if call.verb == "items" else None)
        elif call.verb == "indexes":
            yield (FLEETING,), _listed(call, FLEETING, None)
        elif call.verb in ("create_index", "drop_index"):
            verb, condition = ("write", ABSENT) if call.verb == "create_index" else ("remove", None)
            result = _index_result(call.outcome)
            if not _nothing_happened(call.outcome):
                yield (FLEETING,), Operation(call.client, verb, call.began, call.ended, result, 0, condition=condition)
        else:
            yield from self._on_keys(call)

    def _on_keys(self, call: Call) -> Iterator[tuple[Place, Operation]]:
        verb = call.model
        outcomes = _outcomes(call)
        assert len(outcomes) == len(call.keys), call
        for position, (key, outcome) in enumerate(zip(call.keys, outcomes, strict=True)):
            if _nothing_happened(outcome) or (isinstance(outcome, Exception) and not call.changes):
                continue
            value = 1 if verb == "increment" else call.values[position] if call.values else 0
            yield (
                (call.index, key),
                Operation(
                    call.client,
                    verb,
                    call.began,
                    call.ended,
                    UNKNOWN if isinstance(outcome, Exception) else _result(call.verb, verb, outcome),
                    value,
                    initial=call.values[position] if verb == "increment" else 0,
                    condition=call.wanted if isinstance(call.condition, int) else call.condition,
                    expires=call.ttl is not None,
                    bulk=call.bulk,
                ),
            )

    def _check_outcome(self, call: Call, tally: Tally) -> None:
        assert call.ended, f"{call} never ended"
        assert call.late < _LATEST, f"{call} ended {call.late:g} s after its deadline"
        for outcome in _outcomes(call) if call.keys else [call.outcome]:
            if isinstance(outcome, Exception):
                allowed: tuple[type[Exception], ...] = (Unavailable,)
                if call.changes:
                    allowed = (Unavailable, OutcomeUnknown)
                if call.verb == "items":  # a page of documents that couldn't all be read
                    allowed = (Unavailable, PartialFailure)
                if call.cut:
                    allowed = (*allowed, CutShort)
                if call.verb in ("create_index", "drop_index"):
                    allowed = (*allowed, IndexExists if call.verb == "create_index" else IndexNotFound)
                assert type(outcome) in allowed, f"{call} ended with {outcome!r}"
                tally.unknown += isinstance(outcome, OutcomeUnknown)
                tally.unavailable += isinstance(outcome, Unavailable)
                tally.cut += isinstance(outcome, CutShort)
        answered = not isinstance(call.outcome, Exception) or isinstance(call.outcome, IndexExists | IndexNotFound)
        tally.answers[self.faces.get(call.client, ""), call.verb] += answered

    def _check_versions(self) -> None:
        values: dict[tuple[Place, int], int] = {}
        for call in self.calls:
            if call.verb == "item" and isinstance(call.outcome, dict):
                version, value = call.outcome["version"], call.outcome["record"]
                known = values.setdefault(((call.index, call.keys[0]), version), value)
                assert known == value, f"version {version} had {known} and {value}: {call}"


@attrs.define
class Tally:
    """What a run came to.

    :ivar answers: how many there were, by the face that called and the verb.
    """

    calls: int
    histories: int = 0
    operations: int = 0
    unknown: int = 0
    unavailable: int = 0
    cut: int = 0
    answers: Counter[tuple[str, str]] = attrs.Factory(Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.calls + other.calls,
            self.histories + other.histories,
            self.operations + other.operations,
            self.unknown + other.unknown,
            self.unavailable + other.unavailable,
            self.cut + other.cut,
            self.answers + other.answers,
        )

    def __str__(self) -> str:
        return (
            f"{self.histories:,} histories of {self.operations:,} operations in {self.calls:,} calls, "
            f"{self.unknown:,} with unknown outcome, {self.unavailable:,} unavailable, {self.cut:,} cut short"
        )


def total(tallies: Iterable[Tally]) -> Tally:
    """Several runs together."""
    return sum(tallies, Tally(0))


def _outcomes(call: Call) -> Sequence[object]:
    """What became of each key."""
    if isinstance(call.outcome, PartialFailure) and call.verb in BULK:
        assert [key for key, _ in call.outcome.outcomes] == list(call.keys), call
        return [outcome for _, outcome in call.outcome.outcomes]
    if call.verb not in BULK or isinstance(call.outcome, Exception):
        return [call.outcome] * max(1, len(call.keys))
    found: Sequence[object] = call.outcome
    return found


def _listed(call: Call, name: str, documents: dict[str, int] | None) -> Operation:
    """What a listing says of one name.

    It is as if by another client: listings are not in the order of what their client calls meanwhile.
    """
    verb, found = ("has", name in call.outcome) if documents is None else ("read", documents.get(name))
    return Operation(("listing", call.client, call.number), verb, call.began, call.ended, found)


def _nothing_happened(outcome: object) -> bool:
    """Whether a call says that it changed nothing."""
    return isinstance(outcome, Unavailable) or (isinstance(outcome, CutShort) and not outcome.may_have_happened)


def _result(called: str, verb: str, outcome: Any) -> object:
    """An outcome as the model has it.

    :raises AssertionError: it is none of the verb's.
    """
    assert type(outcome) in _GIVES[called.removesuffix("_many")], f"{called} gave {outcome!r}"
    if isinstance(outcome, dict):
        assert outcome.keys() >= (_ITEM if verb == "item" else _RECORD), f"{called} gave {outcome!r}"
        return (outcome["record"], outcome["ttl"] is not None) if verb == "item" else outcome["record"]
    return bool(outcome) if verb in ("write", "remove") else outcome


def _index_result(outcome: object) -> object:
    if isinstance(outcome, OutcomeUnknown | CutShort):
        return UNKNOWN
    return not isinstance(outcome, Exception)
