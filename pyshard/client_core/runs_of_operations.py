"""Single operations as the runs in which they travel, and the runs' answers as outcomes of the operations. Pure.

Rule: neighbors of one verb and index share a run; the order of the operations stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from pyshard.client_core.operation import NO_OPTIONS, Operation
from pyshard.client_core.result_decoding import outcomes_in, outcomes_of
from pyshard.protocol.batch_answers import Answer, encode_answers
from pyshard.protocol.batch_operations import ALWAYS, READING_RUNS, Increment, Pop, Remove, Run, Touch, Write

_KIND = attrgetter("verb", "index")
_STORED = encode_answers([Answer([True], {})])  # the answer to most writes


def runs_of(operations: Sequence[Operation]) -> list[Run]:
    """The runs of operations that travel together, in their order."""
    if len(operations) == 1:
        one = operations[0]
        reading = READING_RUNS.get(one.verb)
        return [_run(one.verb, one.index, operations) if reading is None else reading(one.index, [one.key])]
    return [_run(verb, index, list(neighbors)) for (verb, index), neighbors in groupby(operations, _KIND)]


def _run(verb: str, index: str, operations: Sequence[Operation]) -> Run:
    """Operations of one verb on one index as a run."""
    keys = [operation.key for operation in operations]
    if verb in READING_RUNS:
        return READING_RUNS[verb](index, keys)
    options = [operation.options for operation in operations]
    if verb == "write" and options.count(NO_OPTIONS) == len(options):  # as is mostly so
        return Write(index, keys, [operation.record for operation in operations])
    ttls = [option.ttl for option in options]
    conditions: list[int] | None = [option.condition for option in options]
    if all(condition == ALWAYS for condition in conditions or ()):
        conditions = None
    if verb == "write":
        return Write(
            index, keys, [operation.record for operation in operations], conditions, ttls if any(ttls) else None
        )
    if verb == "touch":
        return Touch(index, keys, ttls, conditions)
    if verb == "increment":
        amounts, initials = [operation.record for operation in operations], [option.initial for option in options]
        return Increment(index, keys, amounts, initials, ttls if any(ttls) else None)
    return Pop(index, keys, conditions) if verb == "pop" else Remove(index, keys, conditions)


def outcomes_of_runs(runs: Sequence[Run], operations: Sequence[Operation], answers: Sequence[Answer]) -> list[object]:
    """What the caller of each operation is given, or the error by which it failed.

    :param runs: those of the operations (`runs_of`).
    :param answers: one for each run.
    """
    if len(operations) == 1 and not answers[0].errors:
        one = operations[0]
        return outcomes_of(runs[0], (one.slot,), (one.size,), answers[0].results)
    found: list[object] = []
    for run, answer in zip(runs, answers, strict=True):
        found += _outcomes(run, operations[len(found) : len(found) + len(run.keys)], answer)
    return found


def outcome_in(data: bytes, runs: Sequence[Run], operations: Sequence[Operation]) -> list[object] | None:
    """What `outcomes_of_runs` gives for a shard's answer to a single operation, if that is known at once.

    :param data: the answer, in MessagePack.
    :return: None: there are more operations, or it is to be decoded first (`outcomes_in`); else it has no errors.
    """
    if len(operations) != 1:
        return None
    one = operations[0]
    if data == _STORED and one.verb == "write":
        return [one.size]
    return outcomes_in(data, runs[0], (one.slot,), outcomes_of)


def _outcomes(run: Run, operations: Sequence[Operation], answer: Answer) -> list[object]:
    """What the caller of each of a run's operations is given."""
    slots = [operation.slot for operation in operations]
    sizes = [operation.size for operation in operations] if isinstance(run, Write) else ()
    outcomes = outcomes_of(run, slots, sizes, answer.results)
    if answer.errors:
        for position, error in answer.refusals().items():
            outcomes[position] = error
    return outcomes
