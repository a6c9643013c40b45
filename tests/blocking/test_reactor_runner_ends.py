"""The reactor that calling threads run: interrupts, and nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from blocking.threads import Thread, apart, later, until
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from pyshard.blocking import leader_followers
from pyshard.blocking.leader_followers import ReactorRunner
from pyshard.errors import ClientClosed

_DESCRIPTORS = Path("/proc/self/fd")


# -- interrupts -----------------------------------------------------------------------------------------------------


def test_an_interrupted_leader_hands_over(runner: ReactorRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt ends only the leader's own call: a waiting thread leads next, and later calls work."""
    interrupt = threading.Event()
    poll = runner.reactor.doIteration

    def interrupted(delay: float | None) -> None:
        if interrupt.is_set():
            interrupt.clear()
            raise KeyboardInterrupt
        poll(delay)

    monkeypatch.setattr(runner.reactor, "doIteration", interrupted)
    never: Deferred[None] = Deferred()
    leader = Thread(lambda: runner.run(lambda: never))
    until(lambda: runner._leader == leader.ident)
    release: Deferred[str] = Deferred()
    follower = Thread(lambda: runner.run(lambda: release))
    until(lambda: runner._followers)
    interrupt.set()
    runner.reactor.callFromThread(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        leader.outcome()
    until(lambda: runner._leader == follower.ident)
    runner.reactor.callFromThread(release.callback, "done")
    assert follower.outcome() == "done"
    assert apart(lambda: runner.run(later(runner, 0.001, "later"))) == "later"


class _Interrupted:
    """A held lock whose `acquire` is interrupted: after a moment, or just when the lock is released."""

    def __init__(self, when_released: bool) -> None:
        self._when_released = when_released
        self._lock = threading.Lock()
        self._lock.acquire()
        self.locked, self.release = self._lock.locked, self._lock.release

    def acquire(self) -> bool:
        """See `threading.Lock`."""
        self._lock.acquire(timeout=-1 if self._when_released else 0.02)
        raise KeyboardInterrupt


@pytest.mark.parametrize("when_given_the_lead", [False, True])
def test_an_interrupted_follower_passes_the_lead_on(
    runner: ReactorRunner, monkeypatch: pytest.MonkeyPatch, when_given_the_lead: bool
) -> None:
    """A waiting thread can be interrupted, even when it has just become the leader; the others go on."""
    release, never = Deferred[str](), Deferred[str]()
    leader = Thread(lambda: runner.run(lambda: release))
    until(lambda: runner._leader == leader.ident)
    call_made = leader_followers._Call

    def interrupted_call(function: Callable[[], Deferred[Any]]) -> Any:
        call: Any = call_made(function)

        def follow() -> _Interrupted:
            call._asleep = asleep = _Interrupted(when_given_the_lead)
            return asleep

        monkeypatch.setattr(call, "follow", follow)
        return call

    monkeypatch.setattr(leader_followers, "_Call", interrupted_call)
    interrupted = Thread(lambda: runner.run(lambda: never))
    until(lambda: runner._followers or not interrupted.is_alive())
    monkeypatch.setattr(leader_followers, "_Call", call_made)
    waiting = Thread(lambda: runner.run(later(runner, 0.1, "waited")))
    if not when_given_the_lead:
        with pytest.raises(KeyboardInterrupt):
            interrupted.outcome()
    runner.reactor.callFromThread(release.callback, "led")
    assert leader.outcome() == "led"
    with pytest.raises(KeyboardInterrupt):
        interrupted.outcome()
    assert waiting.outcome() == "waited"
    assert apart(lambda: runner.run(lambda: succeed("later"))) == "later"
    assert runner._followers == []
    assert not runner._led


def test_control_c_ends_a_wait_and_nothing_else() -> None:
    """In a real main thread: Ctrl-C ends the call that waits, and the next call works."""
    program = """
import signal
from twisted.internet.defer import Deferred, succeed
from pyshard.blocking.leader_followers import ReactorRunner
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where this process was told to ignore it
runner = ReactorRunner()
def never():
    print("waits", flush=True)
    return Deferred()
try:
    runner.run(never)
except KeyboardInterrupt:
    print("interrupted", runner.run(lambda: succeed("next")))
"""
    command = [sys.executable, "-P", "-c", program]  # -P: what is installed, not the checkout
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            until(lambda: asleep(process.pid))
            process.send_signal(signal.SIGINT)
            found, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (found, process.returncode) == ("interrupted next\n", 0)


def asleep(pid: int) -> bool:
    """Whether a process's main thread sleeps; True where the system doesn't say."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"


# -- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="descriptors are counted as Linux lists them")
def test_nothing_is_left_of_a_closed_runner() -> None:
    """Closing runs the last function, and leaves no descriptor and no thread."""
    closed = []

    def use() -> None:
        runner = ReactorRunner()
        runner.run(lambda: runner.reactor.resolve("localhost"))
        runner.run(later(runner, 0.001, None))

        def last() -> Deferred[None]:
            closed.append(runner)
            return deferLater(runner.reactor, 0.001)

        runner.close(last)

    apart(use)
    before = len(list(_DESCRIPTORS.iterdir())), threading.active_count()
    for _ in range(10):
        apart(use)
    until(lambda: threading.active_count() <= before[1])
    assert len(list(_DESCRIPTORS.iterdir())) == before[0]
    assert len(closed) == 11


def test_a_closed_runner_says_so() -> None:
    """After close a call fails with `ClientClosed`, and its function isn't called."""
    runner, called = ReactorRunner(), []
    apart(lambda: runner.close(lambda: succeed(None)))

    def function() -> Deferred[None]:
        called.append(1)
        return succeed(None)

    with pytest.raises(ClientClosed):
        apart(lambda: runner.run(function))
    assert called == []


def test_closing_waits_for_the_calls_of_other_threads() -> None:
    """When one thread closes while another leads, the leader finishes its call before the reactor is disposed of."""
    runner = ReactorRunner()
    release: Deferred[str] = Deferred()
    leader = Thread(lambda: runner.run(lambda: release))
    until(lambda: runner._leader == leader.ident)
    apart(lambda: runner.close(lambda: succeed(None)))
    with pytest.raises(ClientClosed):
        apart(lambda: runner.run(lambda: succeed(1)))
    assert leader.is_alive()
    runner.reactor.callFromThread(release.callback, "finished")
    assert leader.outcome() == "finished"
    until(lambda: not hasattr(runner.reactor.waker, "o"))


def test_a_reactor_is_not_closed_under_a_thread_that_is_just_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower may still use the reactor's waker after its call is done: the reactor isn't disposed of before."""
    runner = ReactorRunner()
    release: Deferred[str] = Deferred()
    leader = Thread(lambda: runner.run(lambda: release))
    until(lambda: runner._leader == leader.ident)
    wake_up, go_on = runner.reactor.wakeUp, threading.Event()

    def slow() -> None:
        wake_up()
        if threading.current_thread() is follower:
            go_on.wait(10)
            wake_up()

    monkeypatch.setattr(runner.reactor, "wakeUp", slow)
    start = threading.Event()
    follower = Thread(lambda: start.wait(10) and runner.run(lambda: succeed("followed")))
    start.set()
    until(lambda: any(one.done for one in runner._followers))
    runner.reactor.callFromThread(release.callback, "led")
    assert leader.outcome() == "led"
    runner.dispose()
    go_on.set()
    assert follower.outcome() == "followed"
    until(lambda: not hasattr(runner.reactor.waker, "o"))


def test_closing_among_busy_threads() -> None:
    """When one thread closes while many make calls, each call ends with its answer or `ClientClosed`."""
    for seed in range(20):
        runner = ReactorRunner()

        def work(runner: ReactorRunner = runner, seed: int = seed) -> str:
            random = Random(seed)
            try:
                for number in range(10_000):
                    pause = random.choice([0, 0.0002])
                    assert runner.run(later(runner, pause, number)) == number
            except ClientClosed:
                return "closed"
            return "through"

        threads = [Thread(work) for _ in range(6)]
        time.sleep(0.002)
        apart(lambda runner=runner: runner.close(lambda: succeed(None)))  # type: ignore[misc]
        assert [thread.outcome() for thread in threads] == ["closed"] * 6


def test_a_process_ends_in_the_midst_of_calls() -> None:
    """Resolver threads and a thread that waits don't keep a process from ending."""
    program = """
import threading, time
from twisted.internet.defer import Deferred
from pyshard.blocking.leader_followers import ReactorRunner
runner = ReactorRunner()
runner.run(lambda: runner.reactor.resolve("localhost"))
threading.Thread(target=runner.run, args=(lambda: Deferred(),), daemon=True).start()
time.sleep(0.1)
print("end")
"""
    command = [sys.executable, "-P", "-c", program]  # -P: what is installed, not the checkout
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (found.stdout, found.stderr) == ("end\n", "")
