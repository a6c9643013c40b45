"""Which clock goes for what: one that no step moves for all that waits, the wall clock for dates; and who reads them.

The modules are looked at in their syntax trees.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator

import pytest
from test_layers import FILES, global_reactor, module_of, nodes

from pyshard import clocks

#: Functions that tell the time, or have an event loop wait by a clock of its own choice.
SYSTEM = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "asyncio": {"timeout", "timeout_at", "wait_for"},
    "loop": {"time", "call_at", "call_later"},
}

#: The modules that may use them.
READERS = {
    "pyshard.clocks": {"time.time", "time.monotonic", "time.clock_gettime"},
    "pyshard.aio.loop_clock": {"loop.call_later"},
}

#: The modules that look at the wall clock: for times to live and versions, for a backup's date, for certificates, for
#: lines of a log, and to compare the clocks of machines.
DATES = {
    "pyshard.cli.up.command",
    "pyshard.shard.plugin",
    "pyshard.backup.taking",
    "pyshard.backup.restoring",
    "pyshard.security.tls",
    "pyshard.server.factory",
    "pyshard.cli.doctor.gathering",
}

#: The modules that time something by a reactor itself: by this process's own one, or in order to make it steady.
REACTOR_TIMERS = {
    "pyshard.cli.deferred_call",
    "pyshard.cli.up.supervisor",
    "pyshard.net.steady_clock",
    "pyshard.net.twisted_internals",
    "pyshard.server.signals_and_exit",
    "pyshard.shard.plugin",
}


def last_name(node: ast.expr) -> str:
    """The last part of a dotted name, without underscores before it: ``self._loop`` is ``loop``."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_")


def system_clocks(source: str) -> set[str]:
    """The functions of `SYSTEM` that a file uses, as ``time.time``."""
    found: set[str] = set()
    for node in nodes(source):
        if isinstance(node, ast.Attribute) and node.attr in SYSTEM.get(last_name(node.value), ()):
            found.add(f"{last_name(node.value)}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in SYSTEM:
            names = {alias.name for alias in node.names} & SYSTEM[node.module]
            found.update(f"{node.module}.{name}" for name in names)
        elif (
            isinstance(node, ast.Call)
            and last_name(node.func) == "sleep"  # this first, since to write a node as text takes long
            and ast.unparse(node.func) == "asyncio.sleep"
            and ast.unparse(node) != "asyncio.sleep(0)"
        ):
            found.add("asyncio.sleep")
    return found


def uses_the_wall_clock(source: str) -> bool:
    """Whether a file uses one of our names of the wall clock."""
    return any(last_name(node) in ("wall_seconds", "wall_date") for node in expressions(source))


def times_by_a_reactor(source: str) -> bool:
    """Whether a file uses a reactor's own timers: its methods, or functions that are given it as their clock."""
    found = False
    for node in expressions(source):
        if isinstance(node, ast.Attribute) and node.attr in ("callLater", "seconds"):
            found = found or last_name(node.value) == "reactor"
        elif isinstance(node, ast.Call) and last_name(node.func) in ("deferLater", "addTimeout"):
            found = found or "reactor" in map(last_name, node.args)
    return found


def runs_steadily(source: str) -> bool:
    """Whether a file gives a reactor the steady clock."""
    return any(isinstance(node, ast.Call) and last_name(node.func) == "run_steadily" for node in expressions(source))


def expressions(source: str) -> Iterator[ast.expr]:
    """All expressions of a file."""
    return (node for node in nodes(source) if isinstance(node, ast.expr))


def test_who_reads_the_clocks() -> None:
    """No module tells the time but by `pyshard.clocks`, or by a clock that it is given."""
    readers, dates, timers = dict[str, set[str]](), set[str](), set[str]()
    for path in FILES:
        source, module = path.read_text(encoding="utf-8"), module_of(path)
        if found := system_clocks(source):
            readers[module] = found
        if uses_the_wall_clock(source):
            dates.add(module)
        if times_by_a_reactor(source):
            timers.add(module)
    assert readers == READERS
    assert dates == DATES | {"pyshard.clocks"}
    assert timers == REACTOR_TIMERS


def test_own_reactors_run_steadily() -> None:
    """Where the global reactor is picked up, it is given the steady clock."""
    sources = {module_of(path): path.read_text(encoding="utf-8") for path in FILES}
    users = {module: runs_steadily(source) for module, source in sources.items() if global_reactor(source)}
    assert users
    assert [module for module, steady in users.items() if not steady] == []


def test_the_steady_clock() -> None:
    """It goes on as fast as time does, on Linux with the time in which the machine was suspended."""
    before = clocks.steady_seconds()
    time.sleep(0.05)
    assert 0.049 < clocks.steady_seconds() - before < 10
    if sys.platform == "linux":
        assert abs(clocks.steady_seconds() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10


def test_a_system_without_such_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it isn't known, or may not be read, another clock that isn't stepped takes its place."""

    def refused(clock: int) -> float:
        raise OSError

    monkeypatch.setattr(time, "clock_gettime", refused)
    assert clocks._steady_clock() is time.monotonic
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert clocks._steady_clock() is time.monotonic


def test_the_wall_clock() -> None:
    """It is the system's, in seconds since 1970 and as a date in UTC."""
    assert abs(clocks.wall_seconds() - time.time()) < 10
    assert abs(clocks.wall_date().timestamp() - time.time()) < 10
    assert str(clocks.wall_date().tzinfo) == "UTC"


# -- the rules themselves, on small texts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time\ntime.time()", {"time.time"}),
        ("import time\nf(time.monotonic)", {"time.monotonic"}),
        ("from time import monotonic as now, sleep", {"time.monotonic"}),
        ("import datetime\ndatetime.datetime.now()", {"datetime.now"}),
        ("self._loop.call_later(1, f)", {"loop.call_later"}),
        ("clock.loop.time()", {"loop.time"}),
        ("await asyncio.wait_for(f(), 5)", {"asyncio.wait_for"}),
        ("await asyncio.sleep(5)", {"asyncio.sleep"}),
        ("await asyncio.sleep(0)", set()),
        ("import time\ntime.sleep(1)", set()),
        ("clock.seconds()\nself._clock.time", set()),
    ],
)
def test_what_reads_a_clock(source: str, expected: set[str]) -> None:
    """Whatever tells the time is found, called or handed on."""
    assert system_clocks(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("self._reactor.callLater(0, f)", True),
        ("f(reactor.seconds)", True),
        ("await deferLater(reactor, 1)", True),
        ("work.addTimeout(1, self.reactor)", True),
        ("self._clock.callLater(0, f)", False),
        ("await deferLater(clock, 1)", False),
        ("reactor.callFromThread(f)", False),
    ],
)
def test_what_times_by_a_reactor(source: str, expected: bool) -> None:
    """Timers of a reactor's own are found, those of a clock that was handed in are none."""
    assert times_by_a_reactor(source) is expected
