"""How benchmarks/ measures: rounds, figures, threads, checks. What runs: tests/functional/test_benchmarks.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import machine
import pytest
import ratios
import threaded_calls
import workload
from peers.interface import Side, Timed
from ratios import Round, Sample
from rounds import alternate
from shapes import FLAT


def test_ratio_and_spread() -> None:
    """A ratio is our rate over the peer's, round by round; the spread is median, least and most of them."""
    rounds = [
        Round(Sample(100, 1.0, 0.5), Sample(100, 2.0, 0.1)),  # 2
        Round(Sample(100, 1.0, 0.5), Sample(100, 4.0, 0.1)),  # 4
        Round(Sample(100, 2.0, 0.5), Sample(100, 1.0, 0.4)),  # 0.5
    ]
    found = ratios.outcome(rounds)
    assert found.ratio == ratios.Spread(2.0, 0.5, 4.0)
    assert (found.ours, found.peers) == (100.0, 50.0)
    assert found.our_cpu == pytest.approx(1.5 / 300 * 1e6)
    assert found.peers_cpu == pytest.approx(0.6 / 300 * 1e6)


def test_no_servers() -> None:
    """A peer without servers has no CPU time of theirs: none is not a little."""
    found = ratios.outcome([Round(Sample(100, 1.0, 0.5), Sample(100, 2.0, None))])
    assert found.our_cpu == pytest.approx(5000.0)
    assert found.peers_cpu is None


def test_spread_of_nothing() -> None:
    """No figure has no median."""
    with pytest.raises(ValueError, match="at least one"):
        ratios.spread([])


def test_bytes_per_document() -> None:
    """What servers had before doesn't count."""
    assert ratios.per_document(1000, 21_000, 100) == 200.0


def test_wrong_values_are_noticed() -> None:
    """A missing document, an older version and another one's document all end a run."""
    keys, expected = ["a", "b"], [FLAT.make(1, 3), FLAT.make(2, 3)]
    workload.check(keys, expected, list(expected))
    for wrong in (None, FLAT.make(2, 2), FLAT.make(1, 3)):
        with pytest.raises(workload.WrongValue, match="'b'"):
            workload.check(keys, expected, [expected[0], wrong])
    with pytest.raises(ValueError, match="shorter"):
        workload.check(keys, expected, expected[:1])


def test_threads() -> None:
    """Threads' values come in the threads' order; what one of them raises is raised."""
    found = threaded_calls.in_threads(lambda place: Timed(0.0, [place, place * 10]), 3)
    assert found.values == [0, 0, 1, 10, 2, 20]

    def fail(place: int) -> Timed:
        raise ValueError(f"thread {place}")

    with pytest.raises(ValueError, match="thread 0"):
        threaded_calls.in_threads(fail, 2)


class _Side(Side):
    """Servers that are there already: this process."""

    pids = [os.getpid()]

    def close(self) -> None:
        """There is nothing to end."""


class _Counting(workload.Workload[str]):
    """Writes down who does which round."""

    name = title = "counting"

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def run(self, client: str, number: int) -> tuple[int, float]:
        """A round of ten operations; the peer takes twice as long."""
        self.done.append((client, number))
        return 10, 1.0 if client == "ours" else 2.0


def test_sides_alternate() -> None:
    """Ours, the peer's, ours, …, with a round of each before, which doesn't count."""
    counting = _Counting()
    rounds = alternate(counting, [_Side(), _Side()], ["ours", "peer"], 2, lambda: 0.0)
    assert counting.done == [(who, number) for number in (0, 1, 2) for who in ("ours", "peer")]
    assert [(done.ours.operations, done.ours.seconds, done.peers.seconds) for done in rounds] == [(10, 1.0, 2.0)] * 2
    assert [done.ratio for done in rounds] == [2.0, 2.0]


def test_slow_rounds_are_fewer() -> None:
    """When rounds take long, no further one is begun; but some are done in any case."""
    for seconds, expected in ((4.9, 5), (100.0, 3), (0.1, 7)):
        clock: Callable[[], float] = count(0.0, seconds).__next__
        found = alternate(_Counting(), [_Side(), _Side()], ["ours", "peer"], 7, clock)
        assert len(found) == expected


def test_busy_seconds() -> None:
    """All of /proc/stat's first line counts but idling and waiting for the disk; where there is none, nothing does."""
    assert machine.busy_seconds("cpu  100 20 30 9000 800 4 5 6 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 100) == 1.65
    assert machine.busy_seconds("", 100) == 0.0


# -- processors -------------------------------------------------------------------------------------------------------

_PLACED = """
import os, subprocess, sys
import processors
every = os.sched_getaffinity(0)
processors.pin_client()
own = os.sched_getaffinity(0)
ask = [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
with processors.for_servers():
    started = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
assert os.sched_getaffinity(0) == own
assert own == ({min(every)} if len(every) > 1 else every)
assert started == str(sorted(every - own or every)), started
print(processors.placement())
"""


def test_client_and_servers_have_processors_of_their_own() -> None:
    """The client keeps to one, and what it starts to the others; all to the only one there is."""
    folder = Path(workload.__file__).parent
    for number in range(1, min(3, len(os.sched_getaffinity(0))) + 1):
        some = set(sorted(os.sched_getaffinity(0))[:number])
        command = f"import os; os.sched_setaffinity(0, {some})\n{_PLACED}"
        done = subprocess.run([sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=False)
        expected = "client and servers on any processor"
        if number > 1:
            expected = f"client on 1 processor, servers on {number - 1}"
        assert (done.stdout, done.stderr) == (f"{expected}\n", "")
