"""The three faces of the client, on a cluster in memory, as the recorded histories make calls with them.

Each face has one client, and one or more numbers: the *callers* whose calls have an order. A Deferred client and one on
asyncio are one caller each, with any number of calls under way. Each thread of a blocking client is a caller, with one
call at a time; and so is each signal's handler that makes a call in the middle of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from math import inf
from random import Random
from typing import Protocol

import attrs
from green_threads import GreenSockets, GreenThread, GreenThreads
from histories import Recorder
from history_calls import BULK, LISTINGS, Call, Interruption, invoke, outcome_of
from memory_loop import MemoryLoop, started
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard import Pyshard
from pyshard.aio import AioClient, connect
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.errors import PyshardError
from pyshard.net.connection_parameters import connection_parameters
from pyshard.testing import MemoryCluster


@attrs.frozen
class FaceParts:
    """What a client is made of.

    :param random: chooses what is cut short.
    :param numbers: gives those of callers.
    :param deadline: of calls that have none of their own.
    """

    cluster: MemoryCluster
    random: Random
    recorder: Recorder
    numbers: Iterator[int]
    deadline: float

    def number(self, face: str) -> int:
        """A new caller's number."""
        number = next(self.numbers)
        self.recorder.faces[number] = face
        return number


class Calls:
    """The calls of one client, as they are recorded, and by how much they were late.

    A call of a bulk verb or a listing has no one deadline.
    """

    def __init__(self, parts: FaceParts) -> None:
        self._seconds = parts.cluster.clock.seconds
        self._recorder = parts.recorder
        self._deadline = parts.deadline
        self._due: dict[Call, float] = {}

    def plan(self, caller: int) -> Call:
        """A random call."""
        return self._recorder.plan(caller)

    def began(self, call: Call) -> None:
        """It is about to be made."""
        self._recorder.began(call)
        if call.verb not in (*BULK, *LISTINGS):
            self._due[call] = self._seconds() + self._seconds_of(call)

    def held_up(self, call: Call, at_first: bool) -> None:
        """Its thread did something else, up to now: a call whose deadline came meanwhile is to end at once.

        :param at_first: it was so when the call was about to look at the clock for the first time.
        """
        if call in self._due:
            self._due[call] = max(self._due[call], self._seconds() + (self._seconds_of(call) if at_first else 0))

    def _seconds_of(self, call: Call) -> float:
        return self._deadline if call.deadline is None else call.deadline

    def ended(self, call: Call, outcome: object) -> None:
        """It has come to its end."""
        call.late = max(0.0, self._seconds() - self._due.pop(call, inf))
        self._recorder.ended(call, outcome)


class Face(Protocol):
    """One client."""

    def callers(self) -> list[int]:
        """Who can make a call now."""
        ...

    def make(self, call: Call) -> None:
        """Make a call, and record it."""
        ...

    def cut(self) -> None:
        """Cut a call short, if there is one."""
        ...

    def refresh(self) -> None:
        """Fetch the map, in a moment."""
        ...

    def close(self) -> None:
        """End the client."""
        ...


class DeferredFace:
    """A Deferred client."""

    def __init__(self, parts: FaceParts) -> None:
        self._client = parts.cluster.connect(deadline=parts.deadline)
        self._random = parts.random
        self._calls = Calls(parts)
        self._number = parts.number("deferred")
        self._open: list[tuple[Call, Deferred[object]]] = []

    def callers(self) -> list[int]:
        """See `Face`."""
        return [self._number]

    def make(self, call: Call) -> None:
        """See `Face`."""
        self._calls.began(call)
        work: Deferred[object] = invoke(self._client, call)
        self._open.append((call, work))
        work.addBoth(self._ended, call)

    def _ended(self, outcome: object, call: Call) -> None:
        self._open = [one for one in self._open if one[0] is not call]
        if isinstance(outcome, Failure):
            assert outcome.value is not None
            outcome = outcome_of(call, outcome.value)
        self._calls.ended(call, outcome)

    def cut(self) -> None:
        """See `Face`."""
        if self._open:
            call, work = self._random.choice(self._open)
            call.cut = True
            work.cancel()

    def refresh(self) -> None:
        """See `Face`."""
        self._client._router.refresh()

    def close(self) -> None:
        """See `Face`."""
        self._client.close()


class AioFace:
    """A client on an event loop of its own."""

    def __init__(self, parts: FaceParts) -> None:
        self._loop = MemoryLoop(parts.cluster.network)  # type: ignore[abstract]  # it has what is called
        self._random = parts.random
        self._calls = Calls(parts)
        self._number = parts.number("asyncio")
        self._open: list[tuple[Call, asyncio.Future[object]]] = []
        connecting = started(self._loop, partial(_connected, parts.deadline))
        while not connecting.done():
            parts.cluster.advance(0.01)
        self._client = connecting.result()

    def callers(self) -> list[int]:
        """See `Face`."""
        return [self._number]

    def make(self, call: Call) -> None:
        """See `Face`."""
        self._loop.enter(partial(self._make, call))

    def _make(self, call: Call) -> None:
        self._calls.began(call)
        future: asyncio.Future[object] = invoke(self._client, call)
        self._open.append((call, future))
        future.add_done_callback(partial(self._ended, call))

    def _ended(self, call: Call, future: asyncio.Future[object]) -> None:
        self._open = [one for one in self._open if one[0] is not call]
        try:
            outcome = future.result()
        except BaseException as error:  # noqa: BLE001  # `outcome_of` raises what isn't one
            outcome = outcome_of(call, error)
        self._calls.ended(call, outcome)

    def cut(self) -> None:
        """See `Face`."""
        if self._open:
            call, future = self._random.choice(self._open)
            call.cut = True
            self._loop.enter(future.cancel)

    def refresh(self) -> None:
        """See `Face`."""
        self._loop.enter(self._client._bound._router.refresh)

    def close(self) -> None:
        """See `Face`. The loop must have had nothing to report."""
        started(self._loop, self._client.close)
        assert self._loop.reported == []


async def _connected(deadline: float) -> AioClient:
    return await connect(deadline=deadline, token_file="", tls=False)


class BlockingFace:
    """A blocking client, and some threads that use it.

    :param most: how many threads it may have.
    """

    def __init__(self, parts: FaceParts, threads: GreenThreads, most: int) -> None:
        parameters = connection_parameters(deadline=parts.deadline, token_file="", tls=False)
        sockets = GreenSockets(parts.cluster.network, threads)
        self._app: Pyshard = over(Connector(parameters, lambda: sockets, parts.random))
        self._random = parts.random
        self._calls = Calls(parts)
        self._parts = parts
        self._threads = threads
        self._numbers = [parts.number("blocking") for _ in range(most)]
        self._busy: dict[int, _CallingThread] = {}
        self._began: dict[Call, int] = {}  # how many places its thread had passed
        connecting = threads.start(self._app._cluster)
        while not connecting.dead:
            parts.cluster.advance(0.01)

    def callers(self) -> list[int]:
        """See `Face`."""
        return [number for number in self._numbers if number not in self._busy]

    def make(self, call: Call) -> None:
        """See `Face`."""
        calls: list[Call] = []
        self._busy[call.client] = _CallingThread(calls, self._threads.start(partial(self._run, call, calls)))

    def _run(self, call: Call, calls: list[Call]) -> None:
        try:
            self._call(call, calls)
        except Interruption:
            pass  # it came from this thread's own call
        finally:
            del self._busy[call.client]

    def _call(self, call: Call, calls: list[Call]) -> None:
        """Make a call, and record it; what interrupts it also interrupts the call around it.

        :param calls: the calls of this thread that are under way, each within the one before it.
        :raises Interruption: it was interrupted.
        """
        self._calls.began(call)
        calls.append(call)
        self._began[call] = self._passed()
        try:
            outcome = invoke(self._app, call)
        except Interruption as interruption:
            call.cut = True
            self._calls.ended(call, outcome_of(call, interruption))
            raise
        except PyshardError as error:
            outcome = error
        finally:
            calls.remove(call)
            del self._began[call]
        assert not call.cut, f"{call} swallowed what interrupted it"
        self._calls.ended(call, outcome)

    def cut(self) -> None:
        """See `Face`: raise in a thread, or have it make another call in the middle of the one that it makes."""
        if not self._busy:
            return
        calling = self._busy[self._random.choice(list(self._busy))]
        points = self._random.choice([0, 0, 1, 3, 10, 30])
        work = _interrupt if self._random.random() < 0.7 else self._handle
        calling.thread.strike(partial(work, calling.calls), points)

    def _handle(self, calls: list[Call]) -> None:
        """What a signal's handler does in the middle of calls; each time it is another caller."""
        held_up = calls.copy()
        newest = held_up[-1]
        first = newest if self._passed() - self._began[newest] <= 1 else None
        try:
            self._call(self._calls.plan(self._parts.number("blocking")), calls)
        finally:
            for call in held_up:
                self._calls.held_up(call, call is first)

    def _passed(self) -> int:
        thread = self._threads.current()
        assert thread is not None
        return thread.passed

    def refresh(self) -> None:
        """See `Face`. It fetches the map when a shard's address is of no use any more."""

    def close(self) -> None:
        """See `Face`."""
        assert not self._busy
        self._app.close()


@attrs.frozen
class _CallingThread:
    """A thread of a blocking client.

    :param calls: its calls that are under way, each within the one before it.
    """

    calls: list[Call]
    thread: GreenThread


def _interrupt(calls: list[Call]) -> None:
    for call in calls:
        call.cut = True
    raise Interruption(calls[-1].number)
