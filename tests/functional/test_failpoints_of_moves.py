"""At every step of a move each of source, target and bootstrap is killed, and goes on after its restart.

The steps are in `functional/failpoints/sitecustomize.py`; `POINTS` has those at which something is killed. Clients are
at work meanwhile, and what their calls came to is checked as in `test_histories`. Each move ends as it is to end.

CI tries `FEW` of them. By hand, all: PYSHARD_TEST_FAILPOINTS, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import random as chance
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import attrs
import pytest
from functional.blocking_load import BlockingLoad
from functional.cluster import Cluster, Daemon, NewCluster, until
from functional.cluster_operator import NEVER_STUCK, NoAnswer, Operator, check_full_count
from functional.failpoints_of_moves import Failpoints
from histories import Tally, total
from history_calls import PAGES

from pyshard import Pyshard
from pyshard.errors import PyshardError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.slot_ranges import in_ranges

pytestmark = pytest.mark.functional

SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
ALL = bool(os.environ.get("PYSHARD_TEST_FAILPOINTS"))

#: What moves to and fro.
MOVING = ((SLOTS // 10, SLOTS // 2),)

_DOCUMENTS = 100
_IN_ONE = 12  # cases that are tried in one cluster
_LITTLE = 1.5  # seconds

BOTH = ("before", "after")
_BOOTSTRAP, _SOURCE, _TARGET = "bootstrap", "source", "target"

#: What happens in a move besides: nothing; its first seal is taken back; it is cancelled while it is sealed. In the
#: latter two its target is stopped (SIGSTOP) when it is told of the seal, until that has happened.
PLAIN, TAKEN_BACK, CANCELLED = "plain", "seal taken back", "cancelled"


@attrs.frozen
class Case:
    """One failpoint.

    :param course: of the move.
    :param victim: who is killed: bootstrap, source or target.
    :param point: where.
    :param calls: how often it is reached until then.
    """

    course: str
    victim: str
    point: str
    calls: int = 1

    def __str__(self) -> str:
        again = f", call {self.calls}" if self.calls > 1 else ""
        return f"{self.course}: {self.victim} {self.point}{again}"


def _cases() -> Iterator[Case]:
    for event in ("planned", "begun", "sealing", "committed", "removed"):
        yield from (Case(PLAIN, _BOOTSTRAP, f"{when} save of {event}") for when in BOTH)
        yield Case(PLAIN, _BOOTSTRAP, f"after change to {event}")
    yield from (Case(PLAIN, _BOOTSTRAP, "before sync of a directory", calls) for calls in range(1, 6))
    for what in ("telling", "asking"):
        for phase in ("copying", "sealing", "committed"):
            for role in (_SOURCE, _TARGET):
                yield from (Case(PLAIN, _BOOTSTRAP, f"{when} {what} {role} while {phase}") for when in BOTH)
    for role in (_SOURCE, _TARGET):
        names = [f"told of {event}" for event in ("planned", "begun", "sealing", "committed", "removed")]
        names += [f"report as {role} while {phase}" for phase in ("copying", "sealing", "committed")]
        names += ["own", "log of own", "remember"]
        if role == _SOURCE:
            names += ["seal", "log of seal", "giving a copy", "giving a page", "giving groups", "forget", "trim"]
            names += ["comparing", "giving digests"]
        else:
            absorbed = [f"absorb of {what}" for what in ("a page", "the copy's end", "a group", "the seal")]
            names += ["stage", "log of stage", *absorbed, *(f"log of {each}" for each in absorbed)]
            names += ["asking for a copy", "asking for a page", "asking for groups", "report that it is ready"]
            names += ["asking to compare", "asking for digests"]
        yield from (Case(PLAIN, role, f"{when} {name}") for name in names for when in BOTH)
    for course, event in ((TAKEN_BACK, "unsealed"), (CANCELLED, "cancelled")):
        yield from (Case(course, _BOOTSTRAP, f"{when} save of {event}") for when in BOTH)
        yield Case(course, _BOOTSTRAP, f"after change to {event}")
        for role in (_SOURCE, _TARGET):
            yield from (Case(course, role, f"{when} told of {event}") for when in BOTH)
        yield from (Case(course, _SOURCE, f"{when} {name}") for name in ("unseal", "log of unseal") for when in BOTH)
    for role in (_SOURCE, _TARGET):
        for what in ("telling", "asking"):
            yield from (Case(CANCELLED, _BOOTSTRAP, f"{when} {what} {role} while cancelled") for when in BOTH)
        yield from (Case(CANCELLED, role, f"{when} report as {role} while cancelled") for when in BOTH)
    yield from (Case(CANCELLED, _SOURCE, f"{when} forget") for when in BOTH)
    for name in ("unstage", "log of unstage", "trim"):
        yield from (Case(CANCELLED, _TARGET, f"{when} {name}") for when in BOTH)


POINTS = list(_cases())

#: Those that CI tries.
FEW = [
    Case(PLAIN, _BOOTSTRAP, "after save of committed"),
    Case(PLAIN, _SOURCE, "after log of seal"),
    Case(PLAIN, _TARGET, "after log of own"),
]


class FailingMove:
    """One move in which somebody is killed."""

    def __init__(self, run: Run, case: Case, source: Daemon, target: Daemon) -> None:
        self._run = run
        self._case = case
        self._source = source
        self._target = target
        self._victim = {_BOOTSTRAP: run.cluster.bootstrap, _SOURCE: source, _TARGET: target}[case.victim]
        self._armed = self._stopped = False

    def run(self) -> bool:
        """Move the range once; whether somebody was killed."""
        end = time.monotonic() + NEVER_STUCK
        if self._case.course != PLAIN:
            self._run.failpoints.arm(self._target, "before told of sealing", number=signal.SIGSTOP)
        if self._case.course == PLAIN or self._victim is not self._target:
            self._arm()
        planned = False
        while True:
            assert time.monotonic() < end, f"{self._case}: the move is stuck: {self._run.operator.state()}"
            self._revive()
            with suppress(NoAnswer, PyshardError):  # the bootstrap, or what it asks, is away just now
                state = self._run.operator.state()
                planned = planned or bool(state.moves) or _has_range(state, self._target)
                if not planned:
                    self._run.operator.move(self._source.name, self._target.name, MOVING)
                elif not state.moves:
                    break
                else:
                    self._go_on(state.moves[0])
            time.sleep(0.02)
        killed = self._end()
        moved = _has_range(self._run.operator.state(), self._target)
        assert moved == (self._case.course != CANCELLED), f"{self._case}: {self._run.operator.moves()}"
        return killed

    def _arm(self) -> None:
        self._armed = True
        self._run.failpoints.arm(self._victim, self._case.point, self._case.calls)

    def _go_on(self, move: RangeMove) -> None:
        """Do what the move's course has for the phase that it is in."""
        target, course = self._target, self._case.course
        if course == PLAIN or not target.running:
            return
        if not self._stopped and self._run.failpoints.fired(target):
            self._stopped = True
            if not self._armed:
                self._arm()
        if self._stopped and course == CANCELLED and move.phase is Phase.SEALING:
            self._run.operator.change(move.number, "cancel")
        if move.phase is (Phase.CANCELLED if course == CANCELLED else Phase.COPYING) and move.attempt:
            target.send(signal.SIGCONT)

    def _revive(self) -> None:
        """Start who was killed."""
        if not self._victim.running:
            time.sleep(self._run.random.choice([0.0, 0.3]))
            self._victim.start()
            self._victim.wait_listening()

    def _end(self) -> bool:
        """Nobody is killed any more; whether somebody was. What comes last may come a little after the move's end."""
        with suppress(AssertionError):
            until(lambda: self._run.failpoints.fired(self._victim), self._case.point, _LITTLE)
        if not self._run.failpoints.disarm(self._victim):
            return False
        with suppress(AssertionError):
            until(lambda: not self._victim.running, "it is killed", _LITTLE)  # unless it runs again already
        self._revive()
        return True


class Run:
    """A cluster with failpoints, in which one case after another is tried.

    :param app: reaches it.
    """

    def __init__(self, cluster: Cluster, failpoints: Failpoints, app: Pyshard, seed: int) -> None:
        self.cluster = cluster
        self.failpoints = failpoints
        self.operator = Operator(cluster)
        self.app = app
        self.seed = seed
        self.random = Random(seed)
        self.moves = 0

    def try_case(self, case: Case) -> Tally:
        """Move the range until somebody is killed, each time to the end, and check all."""
        load = BlockingLoad(self.app, [f"{case} {key}" for key in range(6)], f"{self.seed} {case}")
        with load:
            end, killed = time.monotonic() + NEVER_STUCK, False
            while not killed:
                assert time.monotonic() < end, f"{case} is never reached"
                state = self.operator.state()
                source, target = sorted(self.cluster.shards, key=lambda one: not _has_range(state, one))
                killed = FailingMove(self, case, source, target).run()
                self.moves += 1
        self.cluster.wait_ready()
        tally = load.check()
        check_full_count(self.app)
        return tally


def _has_range(state: ClusterState, daemon: Daemon) -> bool:
    """Whether a shard has what moves, by the map."""
    own = state.map.named(daemon.name)
    assert own is not None
    return in_ranges(MOVING[0][0], own.ranges)


def _groups() -> list[Sequence[Case]]:
    """The cases, so many in one cluster as a test may try in its time."""
    cases = POINTS if ALL else FEW
    return [cases[first : first + _IN_ONE] for first in range(0, len(cases), _IN_ONE)]


@pytest.mark.parametrize("cases", _groups(), ids=lambda cases: str(cases[0]))
def test_failpoints(
    new_cluster: NewCluster, environment: Mapping[str, str], tmp_path: Path, cases: Sequence[Case]
) -> None:
    """Who is killed at whatever step of a move goes on after it, and nothing is lost, doubled or stuck."""
    folder = tmp_path / "failpoints"
    folder.mkdir()
    failpoints = Failpoints(folder)
    cluster = new_cluster(2, durable=True, environment=failpoints.environment(environment))
    cluster.start()
    tallies = []
    with Pyshard(cluster.server, deadline=5) as app:
        app.create_index(PAGES)
        app.write_many({f"document {number}": number for number in range(_DOCUMENTS)})
        run = Run(cluster, failpoints, app, SEED)
        for case in cases:
            try:
                tallies.append(run.try_case(case))
            except AssertionError as error:
                raise AssertionError(f"seed {SEED}, {case}: {error}") from error
    print(f"seed {SEED}: {len(cases)} failpoints, {run.moves} moves, {total(tallies)}")  # noqa: T201  # the figures
