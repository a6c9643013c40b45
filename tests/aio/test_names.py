"""The names that an asyncio client dials: not in the threads that the loop has for all."""

from __future__ import annotations

import asyncio
import socket
import types
from collections.abc import Callable
from typing import Any

import pytest
from aio.loop_cluster import run
from memory_loop import MemoryLoop
from net.held_questions import HeldQuestions
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock

from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.loop_connections import LoopConnections, looks_up_in_threads
from pyshard.testing import MemoryNetwork

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def _connections(held: HeldQuestions) -> LoopConnections:
    """Those of a client on the loop that runs."""
    return LoopConnections(LoopClock(asyncio.get_running_loop()), None, held.questions)


async def _turns() -> None:
    """Let what is ready on the loop run, what other threads have it call included."""
    for _ in range(5):
        await asyncio.sleep(0)


@LOOPS
def test_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    """A slow name takes none of the loop's threads; its addresses come when they are there."""
    held = HeldQuestions(monkeypatch)

    async def main() -> list[str]:
        found = asyncio.ensure_future(_connections(held).resolve("slow.test", 80))
        await _turns()
        assert (held.under_way, found.done()) == (["slow.test"], False)
        held.answer("slow.test")
        return await found

    assert run(main, loop) == ["10.0.0.1", "10.0.0.2"]
    assert held.asked == [("slow.test", 0)]


@pytest.mark.parametrize(("host", "why"), [("none.test", "no results for hostname lookup"), ("a..b", "no host name")])
def test_no_address(monkeypatch: pytest.MonkeyPatch, host: str, why: str) -> None:
    """A name without an address, and what can't be a name, are errors that say so; the latter isn't asked for."""
    held = HeldQuestions(monkeypatch)

    async def main() -> None:
        found = asyncio.ensure_future(_connections(held).resolve(host, 80))
        await _turns()
        for name in held.under_way:
            held.answer(name)
        with pytest.raises(DNSLookupError, match=why):
            await found

    run(main)
    assert held.asked == ([("none.test", 0)] if host == "none.test" else [])


def test_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that is given up doesn't wait; a name that had no room isn't asked for any more."""
    held = HeldQuestions(monkeypatch, 1)

    async def main() -> None:
        connections = _connections(held)
        attempts = [asyncio.ensure_future(connections.resolve(name, 80)) for name in ("slow.test", "further.test")]
        await _turns()
        for one in attempts:
            one.cancel()
        await asyncio.wait(attempts)
        assert [one.cancelled() for one in attempts] == [True, True]
        held.answer("slow.test")
        await _turns()

    run(main)
    assert (held.under_way, held.asked) == ([], [("slow.test", 0)])


def test_cancelled_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes in the turn in which the attempt is cancelled is forgotten."""
    held = HeldQuestions(monkeypatch)

    async def main() -> None:
        connections = _connections(held)
        found = asyncio.ensure_future(connections.resolve("slow.test", 80))
        await _turns()
        held.answer("slow.test")
        found.cancel()
        await asyncio.wait([found])
        assert found.cancelled()

    run(main)


def test_a_loop_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes when the loop is gone is nobody's."""
    held = HeldQuestions(monkeypatch)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connections = _connections(held)
        connections._names.look_up("slow.test", 80, lambda _: None)
        assert loop.is_running()

    run(main)
    held.answer("slow.test")
    assert held.under_way == []


@LOOPS
def test_which_loops(loop: str) -> None:
    """Those of asyncio and uvloop look up names in threads that all share."""

    async def main() -> bool:
        return looks_up_in_threads(asyncio.get_running_loop())

    assert run(main, loop)


def test_a_loop_with_a_way_of_its_own() -> None:
    """A loop that looks up names in another way is asked, one of another class and one that the program has changed."""
    assert not looks_up_in_threads(MemoryLoop(MemoryNetwork(Clock())))  # type: ignore[abstract]  # as above

    async def main() -> list[str]:
        async def found(_: object, host: str, port: int, **__: Any) -> list[object]:
            of_ipv6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::9", port, 0, 0))
            return [of_ipv6, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", port))]

        loop = asyncio.get_running_loop()
        own: Callable[..., Any] = types.MethodType(found, loop)
        loop.getaddrinfo = own  # type: ignore[method-assign]  # what a program may do
        return await LoopConnections(LoopClock(loop), None).resolve("db.test", 80)

    assert run(main) == ["10.0.0.9", "fd00::9"]
