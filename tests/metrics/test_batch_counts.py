"""Operations are counted by verb and outcome, and batches by how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pyshard.errors import ShardFull, WrongShard
from pyshard.metrics.batch_counts import VERBS, BatchCounts
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Read, Run, Write, verb_of

READ, WRITE = Read("", [b"a", b"b"]), Write("", [b"a"], [b"x"])
FOUND, WRITTEN = Answer([b"x", None], {}), Answer([True], {})


def counted(*batches: tuple[Sequence[Run], Sequence[Answer]]) -> tuple[Any, Any, dict[str, int]]:
    """The verbs that were counted, the counts of times by kind, and refusals."""
    counts = BatchCounts()
    for runs, answers in batches:
        counts.add(runs, answers, 0.25)
    told: Any = counts.described()
    verbs = {verb: outcomes for verb, outcomes in told["verbs"].items() if any(outcomes.values())}
    return verbs, {kind: sum(times["counts"]) for kind, times in told["latencies"].items()}, dict(counts.refusals)


def test_every_verb() -> None:
    """Each has its name of the wire."""
    assert set(VERBS) == set(get_args(Run))
    for run, name in VERBS.items():
        assert run.__struct_config__.tag == name
    assert verb_of(READ) == "read"


def test_batches() -> None:
    """A batch with any change counts as one, whichever run has it."""
    verbs, times, refusals = counted(
        ([READ], [FOUND]), ([WRITE], [WRITTEN]), ([READ, WRITE, READ], [FOUND, WRITTEN, FOUND])
    )
    assert verbs == {"read": {"done": 6, "refused": 0}, "write": {"done": 2, "refused": 0}}
    assert times == {"read": 1, "change": 2, "keys": 0, "snapshot": 0}
    assert refusals == {}


def test_refusals() -> None:
    """Operations that are refused count by their reasons, and not as done."""
    some = Answer([b"x", None], {})
    some.refuse(1, WrongShard("elsewhere"))
    verbs, times, refusals = counted(([READ], [some]), ([WRITE], [Answer.refusing(1, ShardFull("full"))]))
    assert verbs == {"read": {"done": 1, "refused": 1}, "write": {"done": 0, "refused": 1}}
    assert times == {"read": 1, "change": 1, "keys": 0, "snapshot": 0}
    assert refusals == {"WRONG_SHARD": 1, "SHARD_FULL": 1}


def test_the_short_way() -> None:
    """What most batches take gives what the plain way does."""
    short, plain = BatchCounts(), BatchCounts()
    for runs, answers in (([READ], [FOUND]), ([WRITE], [WRITTEN])):
        short.add(runs, answers, 0.003)
        plain.add_plainly(runs, answers, 0.003)
    assert short.described() == plain.described()


def test_failed() -> None:
    """A batch that failed as a whole has no time, and all of it is refused."""
    counts = BatchCounts()
    counts.add_failed([READ, WRITE])
    told: Any = counts.described()
    assert told["verbs"]["read"] == {"done": 0, "refused": 2}
    assert told["verbs"]["write"] == {"done": 0, "refused": 1}
    assert not any(sum(times["counts"]) for times in told["latencies"].values())
