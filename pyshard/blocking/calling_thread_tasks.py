"""Steps that the calling thread runs by itself: what a call has to wait for, and several waits at once.

Steps are a generator that yields nothing but an `Interest`: some sockets, until a time. So one thread dials, or has
several shards work at once, without an event loop that outlives the call. They are no coroutines, since Python warns of
a coroutine that an interrupt kept from beginning.

Rules:

- Nothing runs but within a call, in the thread that made it.
- An exception in the middle of a wait (KeyboardInterrupt, a time limit of somebody's) is raised within the steps
  that wait, so that each cleans up after itself; then it goes on to the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from math import inf
from typing import Any, Protocol, TypeAlias, TypeVar

from pyshard.errors import PyshardError

_T = TypeVar("_T")

# Seconds for each of several steps that wait, for which no time wakes them up: of thousands each has another time, and
# all of them are looked at then.
_TOGETHER = 1e-5

#: A socket, and whether it is to be written to.
Wanted: TypeAlias = "tuple[PlainSocket, bool]"


class PlainSocket(Protocol):
    """A stream socket that never blocks by itself. Errors of the system are OSErrors."""

    def is_current(self) -> bool:
        """Whether it is of the kind that the network makes now."""
        ...

    def send(self, data: bytes | memoryview) -> int:
        """Send what the system takes; how many bytes that were."""
        ...

    def receive(self) -> bytes | None:
        """What has arrived; None: nothing now; empty: the peer has ended the connection."""
        ...

    def failure(self) -> str | None:
        """Why the connection couldn't be made; None: it is there."""
        ...

    def wait(self, writing: bool, until: float) -> bool:
        """Wait until something can be received, or sent; False: the time came first."""
        ...

    def shut_down(self) -> None:
        """End the connection, so that a thread which waits for it wakes up."""
        ...

    def close(self) -> None:
        """End the connection, and give the descriptor back."""
        ...


class Network(Protocol):
    """Where sockets come from, and the time that goes with them."""

    def now(self) -> float:
        """Seconds of a clock that nobody sets."""
        ...

    def sleep(self, until: float) -> None:
        """Do nothing until a time."""
        ...

    def addresses(self, host: str, port: int, until: float) -> Steps[Sequence[object]]:
        """The addresses of a name, the best first; other steps go on meanwhile.

        :raises OSError: there is none, or it wasn't found by then.
        """
        ...

    def open(self, address: object) -> PlainSocket:
        """Begin to connect; the socket can be written to when it is connected, or has failed to."""
        ...

    def wait(self, wanted: Sequence[Wanted], until: float) -> list[PlainSocket]:
        """Wait until one of several sockets is ready: those that are; none: the time came first."""
        ...


class Interest:
    """What steps wait for: one of some sockets, or a time. ``yield from`` it gives the sockets that are ready."""

    __slots__ = ("until", "wanted")

    def __init__(self, wanted: Sequence[Wanted], until: float) -> None:
        self.wanted = wanted
        self.until = until

    def __iter__(self) -> Generator[Interest, list[PlainSocket], list[PlainSocket]]:
        return (yield self)


#: Steps, and what they come to.
Steps: TypeAlias = Generator[Interest, list[PlainSocket], _T]


def run(network: Network, steps: Steps[_T]) -> _T:
    """Run steps to their end: what they return, or raise.

    Steps that were left in the middle clean up here, not when somebody forgets them: an exception of a signal's handler
    that came meanwhile would be lost.
    """
    try:
        interest = steps.send(None)  # type: ignore[arg-type]  # how a generator is begun
        while True:
            try:
                ready = network.wait(interest.wanted, interest.until)
            except BaseException as error:  # noqa: BLE001  # whatever it is, the steps are to clean up, and raise it
                interest = steps.throw(error)
            else:
                interest = steps.send(ready)
    except StopIteration as ended:
        found: _T = ended.value
        return found
    finally:
        steps.close()


class _ThreadTask:
    """One of several steps: what they wait for, or how they ended."""

    __slots__ = ("interest", "outcome", "starts", "steps")

    def __init__(self, steps: Steps[Any], starts: float) -> None:
        self.steps = steps
        self.starts = starts
        self.interest: Interest | None = None  # None before it was begun, and after its end
        self.outcome: list[Any] = []  # its result, or the exception that it raised; empty: it goes on

    def go_on(self, ready: list[PlainSocket] | None) -> None:
        """Run it to its next wait; None begins it."""
        self.interest = None
        try:
            self.interest = self.steps.send(ready)  # type: ignore[arg-type]  # as above
        except StopIteration as ended:
            self.outcome.append(ended.value)
        except PyshardError as error:  # anything else isn't the outcome of these steps alone
            self.outcome.append(error)

    def stop(self, error: BaseException) -> None:
        """Raise an exception where it waits; what it makes of that is nobody's any more."""
        if self.outcome:
            return
        if self.interest is None:
            self.steps.close()
            return
        try:
            self.steps.throw(error)
        except BaseException as other:
            if other is not error and not isinstance(other, Exception):
                raise


class Stopped(Exception):
    """Raised within steps that aren't needed any more."""


def together(
    network: Network,
    several: Sequence[Steps[_T]],
    stagger: float = 0.0,
    one_is_enough: bool = False,
    added: deque[Steps[_T]] | None = None,
    most: float = inf,
) -> Steps[list[_T | Exception]]:
    """Several steps at once, as steps.

    :param stagger: seconds between the starts of two; the next one starts at once when all before it have failed.
    :param one_is_enough: stop the others when one has returned something.
    :param added: what steps put here begins at once, as one of them.
    :param most: how many may wait at a time; the others begin as these end.
    :return: what each returned, or the exception that it raised; with `one_is_enough`, of those that have ended.
    """
    begun = network.now()
    tasks = [_ThreadTask(steps, begun + number * stagger) for number, steps in enumerate(several)]
    to_come, waiting = deque(tasks), list[_ThreadTask]()
    found = False  # whether that is all that is wanted
    try:
        while (to_come or waiting or added) and not found:
            now = network.now()
            while added:
                to_come.appendleft(_ThreadTask(added.popleft(), now))
                tasks.append(to_come[0])
            while to_come and not found and len(waiting) < most and (now >= to_come[0].starts or not waiting):
                found = _goes_on(to_come.popleft(), None, waiting) and one_is_enough
            if waiting and not found:
                starts = to_come[0].starts if to_come and len(waiting) < most else inf
                found = (yield from _turn(network, waiting, starts)) and one_is_enough
    except BaseException as error:
        for task in tasks:
            task.stop(error)
        raise
    if one_is_enough:
        for task in tasks:
            task.stop(Stopped())
    return [outcome for task in tasks for outcome in task.outcome]


def _goes_on(task: _ThreadTask, ready: list[PlainSocket] | None, waiting: list[_ThreadTask]) -> bool:
    """Run one to its next wait, which is noted; whether it has returned something."""
    task.go_on(ready)
    if task.interest is not None:
        waiting.append(task)
        return False
    return not isinstance(task.outcome[0], Exception)


def _turn(network: Network, waiting: list[_ThreadTask], starts: float) -> Steps[bool]:
    """Wait once for all, and go on with those that have what they wait for.

    :param waiting: those that wait; afterwards those that wait on.
    :param starts: when another one is to begin.
    :return: whether one has returned something.
    """
    interests = [(task, task.interest) for task in waiting if task.interest is not None]
    until = min(starts, *(interest.until for _, interest in interests))
    until = max(until, network.now() + _TOGETHER * len(interests))
    ready = set((yield from Interest([wanted for _, interest in interests for wanted in interest.wanted], until)))
    now, found = network.now(), False
    waiting.clear()
    for task, interest in interests:
        mine = [socket for socket, _ in interest.wanted if socket in ready]
        if mine or now >= interest.until:
            found = _goes_on(task, mine, waiting) or found
        else:
            waiting.append(task)
    return found
