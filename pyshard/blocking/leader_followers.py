"""Runs a private reactor in the threads that make blocking calls (the Leader/Followers pattern).

Rules:

- one thread at a time *leads*: it runs the reactor until its own call is done;
- the others give the reactor their calls and wait; when the leader is done, one of them leads next;
- so the calls of many threads are in flight together, and a slow call delays no other;
- a thread that ends early (KeyboardInterrupt) still passes the lead on;
- a runner belongs to one process: a forked child makes a new one and leaves the parent's connections alone.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python import threadable
from twisted.python.failure import Failure

from pyshard.blocking.private_reactor import PrivateReactor
from pyshard.errors import BlockingCallRefused, ClientClosed

_T = TypeVar("_T")
_IDLE = 0.05  # seconds after which a reactor that nobody ran handles its events before it sends


class _Call(Generic[_T]):
    """One thread's call: the function to start, its result, and the lock on which its thread waits."""

    def __init__(self, function: Callable[[], Deferred[_T]]) -> None:
        self.function = function
        self._asleep: threading.Lock | None = None  # None: the thread leads from the beginning
        self.started = False
        self.done = False
        self.leads = False
        self.result: _T | Failure | None = None

    def start(self) -> None:
        """Call the function; in the leading thread."""
        if self.started:
            return
        self.started = True
        try:
            self.function().addBoth(self._end)
        except BaseException:  # noqa: BLE001  # it is raised in the calling thread
            self._end(Failure())

    def follow(self) -> threading.Lock:
        """The lock for the thread to wait on: it is free when the call is done, or the thread is to lead.

        Waking a thread by a lock costs a fraction of doing it by an Event.
        """
        self._asleep = threading.Lock()
        self._asleep.acquire()
        return self._asleep

    def become_leader(self) -> None:
        """Make the waiting thread the leader."""
        self.leads = True
        self._wake_up()

    def ended(self) -> bool:
        """`done`, in a form that a type checker doesn't take for unchanged."""
        return self.done

    def _end(self, result: _T | Failure) -> None:
        self.result = result
        self.done = True
        self._wake_up()

    def _wake_up(self) -> None:
        if self._asleep is not None and self._asleep.locked():
            self._asleep.release()


class ReactorRunner:
    """Runs calls that give Deferreds, and waits for them.

    :ivar reactor: the reactor for the calls to use.
    """

    def __init__(self) -> None:
        self.reactor = PrivateReactor()
        self.reactor.startRunning(installSignalHandlers=False)
        self._lock = threading.Lock()
        self._led = False
        self._closed = False
        self._leader: int | None = None  # the thread's number
        self._followers: list[_Call[Any]] = []
        self._last_run = time.monotonic()

    def run(self, function: Callable[[], Deferred[_T]]) -> _T:
        """Call `function` in the thread that runs the reactor, and wait for its Deferred.

        :return: what the Deferred fired with.
        :raises BaseException: what it failed with.
        :raises BlockingCallRefused: the call would stop a reactor that runs in this thread.
        :raises ClientClosed: after `dispose`.
        """
        self._refuse_in_reactor()
        call = _Call(function)
        turn: threading.Lock | None = None
        try:
            with self._lock:
                if self._closed:
                    raise ClientClosed("this runner is closed; make a new one")
                call.leads = not self._led
                self._led = True
                if not call.leads:
                    turn = call.follow()
                    self._followers.append(call)
            if turn is not None:
                self.reactor.callFromThread(call.start)
                turn.acquire()  # until the leader has finished the call, or it is this thread's turn to lead
            if call.leads:
                self._lead(call)
        finally:  # KeyboardInterrupt can end this thread's part at any point
            self._leave(call)
        if isinstance(call.result, Failure):
            call.result.raiseException()
        return call.result  # type: ignore[return-value]  # a Deferred's result is never a Failure

    def close(self, last: Callable[[], Deferred[None]]) -> None:
        """Run a last function and dispose of the reactor."""
        self.run(last)
        self.dispose()

    def dispose(self) -> None:
        """Refuse further calls, and close the reactor's descriptors once no thread's call is in flight."""
        with self._lock:
            self._closed = True
            unused = self._unused()
        if unused:
            self.reactor.dispose()

    def _lead(self, call: _Call[Any]) -> None:
        """Run the reactor until the call is done."""
        reactor = self.reactor
        self._leader = threading.get_ident()
        try:
            if time.monotonic() - self._last_run > _IDLE:
                reactor.iterate(0)  # notices connections that were closed meanwhile, before anything is sent
            call.start()
            while not call.done:
                wait = reactor.call_due()
                if not call.ended():
                    reactor.wait(wait)
        finally:
            self._leader = None
            self._last_run = time.monotonic()

    def _leave(self, call: _Call[Any]) -> None:
        """End a thread's part: if it led, the first waiting thread leads next, or the next call does."""
        with self._lock:
            if self._followers:
                self._pass_on(call)
            elif call.leads:
                self._led = False
            last = self._closed and self._unused()
        if last:
            self.reactor.dispose()

    def _pass_on(self, call: _Call[Any]) -> None:
        if call in self._followers:
            self._followers.remove(call)
        if call.leads:
            heir = next((follower for follower in self._followers if not follower.done), None)
            self._led = heir is not None
            if heir is not None:
                self._followers.remove(heir)
                heir.become_leader()

    def _unused(self) -> bool:
        """Whether no thread is inside a call; asked under the lock."""
        return not self._led and not self._followers

    def _refuse_in_reactor(self) -> None:
        if self._leader == threading.get_ident():
            raise BlockingCallRefused(
                "a blocking call was made from a callback of another one; use the Deferred client there"
            )
        installed = sys.modules.get("twisted.internet.reactor")
        if installed is not None and getattr(installed, "running", False) and threadable.isInIOThread():
            raise BlockingCallRefused(
                "a blocking call would stop the reactor that runs in this thread; use pyshard.connect(reactor), or "
                "make the call with twisted.internet.threads.deferToThread"
            )
