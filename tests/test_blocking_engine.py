"""The reactor that calling threads run: answers, threads that take turns, interrupts, refusals, and nothing left."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.python import threadable

from pyshard.blocking import engine as engine_module
from pyshard.blocking.engine import Engine
from pyshard.errors import BlockingCallRefused, ClientClosed, Unavailable

_T = TypeVar("_T")
_DESCRIPTORS = Path("/proc/self/fd")


class Thread(threading.Thread):
    """A thread, apart from the test's own (in which pytest-twisted runs a reactor), whose outcome can be had."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._outcome: list[Any] = []
        self.start()

    def run(self) -> None:
        """Call the function."""
        try:
            self._outcome.append((True, self._function()))
        except BaseException as error:  # noqa: BLE001  # it is raised where the outcome is asked for
            self._outcome.append((False, error))

    def outcome(self) -> Any:
        """What the function returned, or raised."""
        self.join(10)
        assert self._outcome, "the thread hangs"
        worked, found = self._outcome[0]
        if not worked:
            raise found
        return found


def apart(function: Callable[[], _T]) -> _T:
    """The outcome of a function that was called in another thread."""
    found: _T = Thread(function).outcome()
    return found


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine, closed in the end."""
    made = Engine()
    yield made
    apart(lambda: made.close(lambda: succeed(None)))


def later(engine: Engine, seconds: float, value: _T) -> Callable[[], Deferred[_T]]:
    """A function to run: its Deferred fires after so many seconds."""
    return lambda: deferLater(engine.reactor, seconds, lambda: value)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, for a few seconds at the most."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end, "it never comes"
        time.sleep(0.001)


# ---------------------------------------------------------------------- one thread


def test_a_call_gives_what_its_deferred_fires_with(engine: Engine) -> None:
    """At once or later, the result of the Deferred is the result of the call."""
    assert apart(lambda: engine.run(lambda: succeed(7))) == 7
    assert apart(lambda: engine.run(later(engine, 0.01, "x"))) == "x"
    assert apart(lambda: engine.run(lambda: succeed(None))) is None


def test_a_call_raises_what_its_deferred_fails_with(engine: Engine) -> None:
    """The very exception of the Deferred is raised, and the engine goes on working."""
    error = Unavailable("nobody there")

    def later_fails() -> Deferred[None]:
        return deferLater(engine.reactor, 0.01).addCallback(lambda _: fail(error))

    for function in (lambda: fail(error), later_fails):
        with pytest.raises(Unavailable) as raised:
            apart(lambda function=function: engine.run(function))  # type: ignore[misc]
        assert raised.value is error
    assert apart(lambda: engine.run(lambda: succeed(1))) == 1


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3), KeyboardInterrupt()])
def test_a_call_raises_what_its_function_raises(engine: Engine, error: BaseException) -> None:
    """What the function itself raises comes out of the call too, whatever it is."""

    def function() -> Deferred[None]:
        raise error

    with pytest.raises(type(error)) as raised:
        apart(lambda: engine.run(function))
    assert raised.value is error
    assert apart(lambda: engine.run(lambda: succeed(1))) == 1


def test_names_are_resolved_without_the_global_reactor(engine: Engine) -> None:
    """Name resolution works in the private reactor, in its own threads, which don't hold up the end of the process."""
    found = apart(lambda: engine.run(lambda: engine.reactor.resolve("localhost")))
    assert found in ("127.0.0.1", "::1")
    resolvers = [thread for thread in threading.enumerate() if "pyshard-names" in thread.name]
    assert resolvers
    assert all(thread.daemon for thread in resolvers)


def test_an_idle_engine_looks_around_before_it_sends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause connections that were closed meanwhile are noticed first; between quick calls no time is lost."""
    steps: list[str] = []
    iterate = engine.reactor.iterate

    def counted(delay: float = 0.0) -> None:
        steps.append("look")
        iterate(delay)

    monkeypatch.setattr(engine.reactor, "iterate", counted)

    def call() -> Deferred[None]:
        steps.append("call")
        return succeed(None)

    def work() -> None:
        for pause in (2 * engine_module._IDLE, 0, 0, 2 * engine_module._IDLE):
            time.sleep(pause)
            engine.run(call)

    apart(work)
    assert steps == ["look", "call", "call", "call", "look", "call"]


# ---------------------------------------------------------------------- many threads


def test_calls_of_many_threads_are_under_way_together(engine: Engine) -> None:
    """Twenty threads that wait 0.2 s each have their own answers after little more than 0.2 s."""
    began = time.monotonic()
    threads = [Thread(lambda number=number: engine.run(later(engine, 0.2, number))) for number in range(20)]  # type: ignore[misc]
    assert [thread.outcome() for thread in threads] == list(range(20))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("first", ["slow", "fast"])
def test_a_slow_call_holds_up_nobody(engine: Engine, first: str) -> None:
    """Whether the thread with the slow call leads or follows, others make many calls meanwhile."""
    release: Deferred[str] = Deferred()
    if first == "slow":
        slow = Thread(lambda: engine.run(lambda: release))
        until(lambda: engine._leader == slow.ident)
    else:
        start: Deferred[str] = Deferred()
        fast = Thread(lambda: engine.run(lambda: start))
        until(lambda: engine._leader == fast.ident)
        slow = Thread(lambda: engine.run(lambda: release))
        until(lambda: engine._followers)
        engine.reactor.callFromThread(start.callback, "go")
        assert fast.outcome() == "go"
        until(lambda: engine._leader == slow.ident)
    calls = [Thread(lambda number=number: engine.run(later(engine, 0.001, number))) for number in range(30)]  # type: ignore[misc]
    assert [one.outcome() for one in calls] == list(range(30))
    assert slow.is_alive()
    engine.reactor.callFromThread(release.callback, "at last")
    assert slow.outcome() == "at last"


def test_threads_take_turns_without_end(engine: Engine) -> None:
    """Whatever the order in which calls end, nobody's answer is lost and nobody gets another's."""

    def work(seed: int) -> list[object]:
        random, found = Random(seed), list[object]()
        for number in range(100):
            pause = random.choice([0, 0, 0.0005, 0.002])
            wanted = (seed, number)
            found.append(engine.run(later(engine, pause, wanted) if pause else lambda wanted=wanted: succeed(wanted)))  # type: ignore[misc]
        return found

    threads = [Thread(lambda seed=seed: work(seed)) for seed in range(8)]  # type: ignore[misc]
    for seed, thread in enumerate(threads):
        assert thread.outcome() == [(seed, number) for number in range(100)]
    assert engine._leader is None
    assert not engine._led
    assert engine._followers == []


@pytest.mark.parametrize("error", [Unavailable("gone"), ValueError("bug"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("raised", [False, True])
def test_a_followers_error_is_raised_in_its_own_thread(engine: Engine, error: BaseException, raised: bool) -> None:
    """An error, of the Deferred or the function itself, reaches the thread that made the call; the leader goes on."""

    def fails() -> Deferred[None]:
        if raised:
            raise error
        return fail(error)

    release: Deferred[str] = Deferred()
    leader = Thread(lambda: engine.run(lambda: release))
    until(lambda: engine._leader == leader.ident)
    with pytest.raises(type(error)) as found:
        apart(lambda: engine.run(fails))
    assert found.value is error
    assert leader.is_alive()
    engine.reactor.callFromThread(release.callback, "fine")
    assert leader.outcome() == "fine"


# ---------------------------------------------------------------------- interrupts


def test_an_interrupted_leader_hands_over(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt ends the leader's own call only: a thread that waits leads on, and later calls work."""
    interrupt = threading.Event()
    poll = engine.reactor.doIteration

    def interrupted(delay: float | None) -> None:
        if interrupt.is_set():
            interrupt.clear()
            raise KeyboardInterrupt
        poll(delay)

    monkeypatch.setattr(engine.reactor, "doIteration", interrupted)
    never: Deferred[None] = Deferred()
    leader = Thread(lambda: engine.run(lambda: never))
    until(lambda: engine._leader == leader.ident)
    release: Deferred[str] = Deferred()
    follower = Thread(lambda: engine.run(lambda: release))
    until(lambda: engine._followers)
    interrupt.set()
    engine.reactor.callFromThread(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        leader.outcome()
    until(lambda: engine._leader == follower.ident)
    engine.reactor.callFromThread(release.callback, "done")
    assert follower.outcome() == "done"
    assert apart(lambda: engine.run(later(engine, 0.001, "later"))) == "later"


class _Interrupted(threading.Event):
    """An event whose wait is broken off: after a moment, or just when it is set."""

    def __init__(self, when_set: bool) -> None:
        super().__init__()
        self._when_set = when_set

    def wait(self, timeout: float | None = None) -> bool:
        super().wait(None if self._when_set else 0.02)
        raise KeyboardInterrupt


@pytest.mark.parametrize("when_given_the_lead", [False, True])
def test_an_interrupted_follower_passes_the_lead_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, when_given_the_lead: bool
) -> None:
    """A waiting thread that is interrupted leaves, even at the moment when it is given the lead; others go on."""
    release, never = Deferred[str](), Deferred[str]()
    leader = Thread(lambda: engine.run(lambda: release))
    until(lambda: engine._leader == leader.ident)
    call_made = engine_module._Call

    def interrupted_call(function: Callable[[], Deferred[Any]]) -> Any:
        call = call_made(function)

        def follow() -> threading.Event:
            call.wake = _Interrupted(when_given_the_lead)
            return call.wake

        monkeypatch.setattr(call, "follow", follow)
        return call

    monkeypatch.setattr(engine_module, "_Call", interrupted_call)
    interrupted = Thread(lambda: engine.run(lambda: never))
    until(lambda: engine._followers or not interrupted.is_alive())
    monkeypatch.setattr(engine_module, "_Call", call_made)
    waiting = Thread(lambda: engine.run(later(engine, 0.1, "waited")))
    if not when_given_the_lead:
        with pytest.raises(KeyboardInterrupt):
            interrupted.outcome()
    engine.reactor.callFromThread(release.callback, "led")
    assert leader.outcome() == "led"
    with pytest.raises(KeyboardInterrupt):
        interrupted.outcome()
    assert waiting.outcome() == "waited"
    assert apart(lambda: engine.run(lambda: succeed("later"))) == "later"
    assert engine._followers == []
    assert not engine._led


def test_control_c_ends_a_wait_and_nothing_else() -> None:
    """In a real main thread: Ctrl-C ends the call that waits, at once, and the next call works."""
    program = """
import os, signal, threading, time
from twisted.internet.defer import Deferred, succeed
from pyshard.blocking.engine import Engine
engine = Engine()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    engine.run(lambda: Deferred())
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began < 5, engine.run(lambda: succeed("next")))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "interrupted True next\n"


# ---------------------------------------------------------------------- refusals


def test_a_call_from_a_callback_is_refused(engine: Engine) -> None:
    """A blocking call inside the reactor would wait for itself: it is refused, in the leader's callbacks."""

    def outer() -> str:
        return engine.run(lambda: succeed("inner"))

    def work() -> str:
        return engine.run(lambda: deferLater(engine.reactor, 0.001, outer))

    with pytest.raises(BlockingCallRefused, match="callback"):
        apart(work)
    assert apart(lambda: engine.run(lambda: succeed(1))) == 1


@pytest.mark.parametrize(
    ("installed", "running", "its_thread", "refused"),
    [(True, True, True, True), (True, True, False, False), (True, False, True, False), (False, False, True, False)],
)
def test_a_call_in_a_running_reactors_thread_is_refused(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
    running: bool,
    its_thread: bool,
    refused: bool,
) -> None:
    """Where the process's reactor runs a blocking call would stop it; elsewhere, or while it doesn't run, not."""
    reactor = SimpleNamespace(running=running)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    if not installed:
        monkeypatch.delitem(sys.modules, "twisted.internet.reactor")
    monkeypatch.setattr(threadable, "isInIOThread", lambda: its_thread)

    def work() -> int:
        return engine.run(lambda: succeed(1))

    if refused:
        with pytest.raises(BlockingCallRefused, match="deferToThread"):
            apart(work)
    else:
        assert apart(work) == 1
    monkeypatch.undo()


def test_a_private_reactor_is_not_taken_for_the_running_one(engine: Engine) -> None:
    """Leading an engine doesn't make a thread the process's reactor thread: a second engine works there next."""
    before = threadable.ioThread
    other = Engine()
    assert apart(lambda: (engine.run(lambda: succeed(1)), other.run(lambda: succeed(2)))) == (1, 2)
    assert threadable.ioThread == before
    apart(lambda: other.close(lambda: succeed(None)))


# ---------------------------------------------------------------------- the end


@pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="descriptors are counted as Linux lists them")
def test_nothing_is_left_of_a_closed_engine() -> None:
    """Closing gives back every descriptor and every thread, of resolvers too; its last function was run."""
    closed = []

    def use() -> None:
        engine = Engine()
        engine.run(lambda: engine.reactor.resolve("localhost"))
        engine.run(later(engine, 0.001, None))

        def last() -> Deferred[None]:
            closed.append(engine)
            return deferLater(engine.reactor, 0.001)

        engine.close(last)

    apart(use)
    before = len(list(_DESCRIPTORS.iterdir())), threading.active_count()
    for _ in range(10):
        apart(use)
    until(lambda: threading.active_count() <= before[1])
    assert len(list(_DESCRIPTORS.iterdir())) == before[0]
    assert len(closed) == 11


def test_a_closed_engine_says_so() -> None:
    """After close a call fails with `ClientClosed`, and its function isn't called."""
    engine, called = Engine(), []
    apart(lambda: engine.close(lambda: succeed(None)))

    def function() -> Deferred[None]:
        called.append(1)
        return succeed(None)

    with pytest.raises(ClientClosed):
        apart(lambda: engine.run(function))
    assert called == []


def test_closing_waits_for_the_calls_of_other_threads() -> None:
    """A thread that leads while another one closes finishes its call; only then is the reactor gone."""
    engine = Engine()
    release: Deferred[str] = Deferred()
    leader = Thread(lambda: engine.run(lambda: release))
    until(lambda: engine._leader == leader.ident)
    apart(lambda: engine.close(lambda: succeed(None)))
    with pytest.raises(ClientClosed):
        apart(lambda: engine.run(lambda: succeed(1)))
    assert leader.is_alive()
    engine.reactor.callFromThread(release.callback, "finished")
    assert leader.outcome() == "finished"
    until(lambda: not hasattr(engine.reactor.waker, "o"))


def test_a_reactor_is_not_closed_under_a_thread_that_is_just_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower's call may be done before it has finished handing it over: the reactor, whose waker it uses, waits."""
    engine = Engine()
    release: Deferred[str] = Deferred()
    leader = Thread(lambda: engine.run(lambda: release))
    until(lambda: engine._leader == leader.ident)
    wake_up, go_on = engine.reactor.wakeUp, threading.Event()

    def slow() -> None:
        wake_up()
        if threading.current_thread() is follower:
            go_on.wait(10)
            wake_up()

    monkeypatch.setattr(engine.reactor, "wakeUp", slow)
    start = threading.Event()
    follower = Thread(lambda: start.wait(10) and engine.run(lambda: succeed("followed")))
    start.set()
    until(lambda: any(one.done for one in engine._followers))
    engine.reactor.callFromThread(release.callback, "led")
    assert leader.outcome() == "led"
    engine.dispose()
    go_on.set()
    assert follower.outcome() == "followed"
    until(lambda: not hasattr(engine.reactor.waker, "o"))


def test_closing_among_busy_threads() -> None:
    """While many threads call, one closes: each call ends with its answer or `ClientClosed`, and none hangs."""
    for seed in range(20):
        engine = Engine()

        def work(engine: Engine = engine, seed: int = seed) -> str:
            random = Random(seed)
            try:
                for number in range(10_000):
                    pause = random.choice([0, 0.0002])
                    assert engine.run(later(engine, pause, number)) == number
            except ClientClosed:
                return "closed"
            return "through"

        threads = [Thread(work) for _ in range(6)]
        time.sleep(0.002)
        apart(lambda engine=engine: engine.close(lambda: succeed(None)))  # type: ignore[misc]
        assert [thread.outcome() for thread in threads] == ["closed"] * 6


def test_a_process_ends_in_the_midst_of_calls() -> None:
    """Resolver threads and a thread that waits don't keep a process from ending."""
    program = """
import threading, time
from twisted.internet.defer import Deferred
from pyshard.blocking.engine import Engine
engine = Engine()
engine.run(lambda: engine.reactor.resolve("localhost"))
threading.Thread(target=engine.run, args=(lambda: Deferred(),), daemon=True).start()
time.sleep(0.1)
print("end")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (found.stdout, found.stderr) == ("end\n", "")
