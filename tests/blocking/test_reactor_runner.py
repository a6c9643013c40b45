"""The reactor that calling threads run: answers, threads that take turns, refusals."""

from __future__ import annotations

import sys
import threading
import time
from random import Random
from types import SimpleNamespace

import pytest
from blocking.threads import Thread, apart, later, until
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.python import threadable

from pyshard.blocking import leader_followers
from pyshard.blocking.leader_followers import ReactorRunner
from pyshard.errors import BlockingCallRefused, Unavailable

# -- one thread -----------------------------------------------------------------------------------------------------


def test_a_call_gives_what_its_deferred_fires_with(runner: ReactorRunner) -> None:
    """A call returns the result of its Deferred, whether it fires at once or later."""
    assert apart(lambda: runner.run(lambda: succeed(7))) == 7
    assert apart(lambda: runner.run(later(runner, 0.01, "x"))) == "x"
    assert apart(lambda: runner.run(lambda: succeed(None))) is None


def test_a_call_raises_what_its_deferred_fails_with(runner: ReactorRunner) -> None:
    """A call raises the Deferred's own exception, and the runner keeps working."""
    error = Unavailable("nobody there")

    def later_fails() -> Deferred[None]:
        return deferLater(runner.reactor, 0.01).addCallback(lambda _: fail(error))

    for function in (lambda: fail(error), later_fails):
        with pytest.raises(Unavailable) as raised:
            apart(lambda function=function: runner.run(function))  # type: ignore[misc]
        assert raised.value is error
    assert apart(lambda: runner.run(lambda: succeed(1))) == 1


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3), KeyboardInterrupt()])
def test_a_call_raises_what_its_function_raises(runner: ReactorRunner, error: BaseException) -> None:
    """A call raises the exception of its function, too, whatever it is."""

    def function() -> Deferred[None]:
        raise error

    with pytest.raises(type(error)) as raised:
        apart(lambda: runner.run(function))
    assert raised.value is error
    assert apart(lambda: runner.run(lambda: succeed(1))) == 1


def test_names_are_resolved_without_the_global_reactor(runner: ReactorRunner) -> None:
    """Names are resolved in the private reactor's own threads, which don't delay the exit of the process."""
    found = apart(lambda: runner.run(lambda: runner.reactor.resolve("localhost")))
    assert found in ("127.0.0.1", "::1")
    resolvers = [thread for thread in threading.enumerate() if "pyshard-names" in thread.name]
    assert resolvers
    assert all(thread.daemon for thread in resolvers)


def test_an_idle_runner_looks_around_before_it_sends(runner: ReactorRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause connections that were closed meanwhile are noticed first; between quick calls no time is lost."""
    steps: list[str] = []
    iterate = runner.reactor.iterate

    def counted(delay: float = 0.0) -> None:
        steps.append("look")
        iterate(delay)

    monkeypatch.setattr(runner.reactor, "iterate", counted)

    def call() -> Deferred[None]:
        steps.append("call")
        return succeed(None)

    def work() -> None:
        for pause in (2 * leader_followers._IDLE, 0, 0, 2 * leader_followers._IDLE):
            time.sleep(pause)
            runner.run(call)

    apart(work)
    assert steps == ["look", "call", "call", "call", "look", "call"]


# -- many threads ---------------------------------------------------------------------------------------------------


def test_calls_of_many_threads_are_under_way_together(runner: ReactorRunner) -> None:
    """Twenty threads that wait 0.2 s each have their own answers after little more than 0.2 s."""
    began = time.monotonic()
    threads = [Thread(lambda number=number: runner.run(later(runner, 0.2, number))) for number in range(20)]  # type: ignore[misc]
    assert [thread.outcome() for thread in threads] == list(range(20))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("first", ["slow", "fast"])
def test_a_slow_call_holds_up_nobody(runner: ReactorRunner, first: str) -> None:
    """A slow call delays no other, whether its thread leads or follows."""
    release: Deferred[str] = Deferred()
    if first == "slow":
        slow = Thread(lambda: runner.run(lambda: release))
        until(lambda: runner._leader == slow.ident)
    else:
        start: Deferred[str] = Deferred()
        fast = Thread(lambda: runner.run(lambda: start))
        until(lambda: runner._leader == fast.ident)
        slow = Thread(lambda: runner.run(lambda: release))
        until(lambda: runner._followers)
        runner.reactor.callFromThread(start.callback, "go")
        assert fast.outcome() == "go"
        until(lambda: runner._leader == slow.ident)
    calls = [Thread(lambda number=number: runner.run(later(runner, 0.001, number))) for number in range(30)]  # type: ignore[misc]
    assert [call.outcome() for call in calls] == list(range(30))
    assert slow.is_alive()
    runner.reactor.callFromThread(release.callback, "at last")
    assert slow.outcome() == "at last"


def test_threads_take_turns_without_end(runner: ReactorRunner) -> None:
    """In whatever order calls end, each thread gets its own answer."""

    def work(seed: int) -> list[object]:
        random, found = Random(seed), list[object]()
        for number in range(100):
            pause = random.choice([0, 0, 0.0005, 0.002])
            wanted = (seed, number)
            found.append(runner.run(later(runner, pause, wanted) if pause else lambda wanted=wanted: succeed(wanted)))  # type: ignore[misc]
        return found

    threads = [Thread(lambda seed=seed: work(seed)) for seed in range(8)]  # type: ignore[misc]
    for seed, thread in enumerate(threads):
        assert thread.outcome() == [(seed, number) for number in range(100)]
    assert runner._leader is None
    assert not runner._led
    assert runner._followers == []


@pytest.mark.parametrize("error", [Unavailable("gone"), ValueError("bug"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("raised", [False, True])
def test_a_followers_error_is_raised_in_its_own_thread(
    runner: ReactorRunner, error: BaseException, raised: bool
) -> None:
    """An error, of the Deferred or the function itself, reaches the thread that made the call; the leader goes on."""

    def fails() -> Deferred[None]:
        if raised:
            raise error
        return fail(error)

    release: Deferred[str] = Deferred()
    leader = Thread(lambda: runner.run(lambda: release))
    until(lambda: runner._leader == leader.ident)
    with pytest.raises(type(error)) as found:
        apart(lambda: runner.run(fails))
    assert found.value is error
    assert leader.is_alive()
    runner.reactor.callFromThread(release.callback, "fine")
    assert leader.outcome() == "fine"


# -- refusals -------------------------------------------------------------------------------------------------------


def test_a_call_from_a_callback_is_refused(runner: ReactorRunner) -> None:
    """A blocking call inside the reactor would wait for itself: it is refused, in the leader's callbacks."""

    def outer() -> str:
        return runner.run(lambda: succeed("inner"))

    def work() -> str:
        return runner.run(lambda: deferLater(runner.reactor, 0.001, outer))

    with pytest.raises(BlockingCallRefused, match="callback"):
        apart(work)
    assert apart(lambda: runner.run(lambda: succeed(1))) == 1


@pytest.mark.parametrize(
    ("installed", "running", "its_thread", "refused"),
    [(True, True, True, True), (True, True, False, False), (True, False, True, False), (False, False, True, False)],
)
def test_a_call_in_a_running_reactors_thread_is_refused(
    runner: ReactorRunner,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
    running: bool,
    its_thread: bool,
    refused: bool,
) -> None:
    """A blocking call is refused in the thread of the process's reactor while it runs, and only then."""
    reactor = SimpleNamespace(running=running)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    if not installed:
        monkeypatch.delitem(sys.modules, "twisted.internet.reactor")
    monkeypatch.setattr(threadable, "isInIOThread", lambda: its_thread)

    def work() -> int:
        return runner.run(lambda: succeed(1))

    if refused:
        with pytest.raises(BlockingCallRefused, match="deferToThread"):
            apart(work)
    else:
        assert apart(work) == 1
    monkeypatch.undo()


def test_a_private_reactor_is_not_taken_for_the_running_one(runner: ReactorRunner) -> None:
    """Leading a runner doesn't make a thread the process's reactor thread: a second runner works there next."""
    before = threadable.ioThread
    other = ReactorRunner()
    assert apart(lambda: (runner.run(lambda: succeed(1)), other.run(lambda: succeed(2)))) == (1, 2)
    assert threadable.ioThread == before
    apart(lambda: other.close(lambda: succeed(None)))
