"""How names are asked for: so many at a time, fairly between owners, and each once."""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections.abc import Callable

import pytest
from net.held_questions import HeldQuestions, address

from pyshard.net.name_questions import (
    QUESTIONS,
    NameQuestions,
    Question,
    addresses_of,
    has_room,
    in_a_thread,
    known_here,
)
from pyshard.server import listen_address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "::1", "::1%lo", "localhost", "LocalHost", "localhost.")),
        *((host, False) for host in ("db.example.com", "local", "localhost.example.com", "127.0.0.1.example.com")),
    ],
)
def test_known_here(host: str, expected: bool) -> None:
    """Numbers and the machine's own name need no server."""
    assert known_here(host) is expected


@pytest.mark.parametrize(
    ("own", "all_owners", "expected"),
    [(0, 0, True), (49, 49, True), (50, 50, False), (24, 74, True), (25, 75, False), (0, 99, True), (0, 100, False)],
)
def test_has_room(own: int, all_owners: int, expected: bool) -> None:
    """An owner begins while more of a hundred places are free than it has taken."""
    assert has_room(own, all_owners, 100) is expected


def test_addresses_where_daemons_listen_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of IPv4; else who listens at the same port of [::1] beside a daemon would have its clients, and tokens."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert [name[0] for *_, name in addresses_of("localhost", 80)] == ["127.0.0.2", "127.0.0.1", "::1"]
    assert listen_address._look_up("localhost", 80) == (socket.AF_INET, ("127.0.0.2", 80)), "where a daemon listens"


def test_owners_with_many_names_leave_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each owner gets half of what those before it left, and one behind them still gets a place."""
    held = HeldQuestions(monkeypatch, 16)
    first, *_, last = owners = [*"abcdef"]
    for owner in owners:
        for number in range(20):
            held.questions.ask(owner, f"{number}.{owner}")
    begun = [name[-1] for name in held.under_way]
    assert begun == [*"aaaaaaaabbbbccde"]
    held.answer("0.a")
    assert held.questions.ask(first, "20.a") is None
    assert held.questions.ask(last, "0.f") is not None


def test_a_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a question has no answer, whoever asks for the name shares it, also without room, each with its port."""
    held = HeldQuestions(monkeypatch, 1)
    first = held.questions.ask("a", "db.test")
    assert first is not None
    assert held.questions.ask("b", "DB.test") is first
    assert (held.under_way, first.ended) == (["db.test"], False)
    held.answer("db.test")
    assert first.addresses(80) == [address("10.0.0.1", 80), address("10.0.0.2", 80)]
    assert first.addresses(81) == [address("10.0.0.1", 81), address("10.0.0.2", 81)]
    assert held.asked == [("db.test", 0)]
    assert held.questions.ask("a", "db.test") not in (None, first)


def test_zones_stay() -> None:
    """With its port, an address of IPv6 keeps its zone."""
    question = Question("a", "db.test")
    question._outcome = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 3))]
    assert question.addresses(80) == [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3))]


def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who share a question get an error of their own that says why."""
    held = HeldQuestions(monkeypatch)
    question = held.questions.ask("a", "none.test")
    assert question is not None
    held.answer("none.test")
    errors = []
    for _ in range(2):
        with pytest.raises(OSError, match=r"'none\.test' has no address \(Name or service not known\)") as failed:
            question.addresses(80)
        errors.append(failed.value)
    assert errors[0] is not errors[1]


def test_what_nobody_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system's function raises ends the question."""

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    held = HeldQuestions(monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", broken)
    question = held.questions.ask("a", "db.test")
    assert question is not None
    held.answer("db.test")
    with pytest.raises(OSError, match=r"'db\.test' has no address \(MemoryError"):
        question.addresses(80)


def test_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hears of the next question that ends, once, when its place is free; not if it listens no more."""
    held = HeldQuestions(monkeypatch, 2)
    told: list[object] = []
    held.questions.when_one_ends("a", lambda: told.append(held.questions.ask("a", "2.test")))
    held.questions.when_one_ends("b", lambda: told.append("b"))
    held.questions.listen_no_more("b")
    for name in ("0.test", "1.test"):
        held.questions.ask(name, name)
    held.answer("0.test")
    held.answer("1.test")
    assert (len(told), None in told) == (1, False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption(error: type[BaseException]) -> None:
    """A question that couldn't begin isn't under way: the name is asked for anew, and its place is free."""
    begun: list[Question] = []

    def begin(question: Question, work: Callable[[], None]) -> None:
        begun.append(question)
        if len(begun) == 1:
            raise error

    questions = NameQuestions(1, begin)
    with pytest.raises(error):
        questions.ask("a", "db.test")
    assert questions.ask("a", "db.test") is begun[1]


def test_a_call_within_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one asks, a signal's handler in the same thread may ask, too."""
    held = HeldQuestions(monkeypatch)
    handled: list[bool] = []

    class Interrupted(Question):
        """A question at which the handler strikes."""

        @property
        def owner(self) -> object:  # what happens in the middle
            """Whose it is."""
            if not handled:
                handled.append(True)
                held.questions.ask("handler", "handler.test")
            return self

        @owner.setter
        def owner(self, owner: object) -> None: ...

    held.questions._under_way["interrupted.test"] = Interrupted("a", "interrupted.test")
    assert held.questions.ask("a", "db.test") is not None
    assert held.under_way == ["handler.test", "db.test"]


class NoThread(threading.Thread):
    """One that the system doesn't give."""

    def start(self) -> None:
        """Refuse."""
        raise RuntimeError("can't start new thread")


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread left there is no address, and nobody waits for one in the thread that asks."""
    held = HeldQuestions(monkeypatch)
    monkeypatch.setattr(threading, "Thread", NoThread)
    question = NameQuestions(1, in_a_thread).ask("a", "db.test")
    assert question is not None
    with pytest.raises(OSError, match=r"'db\.test' has no address \(can't start new thread\)"):
        question.addresses(80)
    assert held.asked == []


def test_no_thread_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that is about to end starts no thread any more; then the one that asks finds the answer."""
    held = HeldQuestions(monkeypatch)
    monkeypatch.setattr(threading, "Thread", NoThread)
    monkeypatch.setattr(threading, "main_thread", NoThread)
    question = NameQuestions(1, in_a_thread).ask("a", "db.test")
    assert question is not None
    assert question.addresses(80) == [address("10.0.0.1", 80), address("10.0.0.2", 80)]
    assert held.asked == [("db.test", 0)]


def test_threads_of_their_own() -> None:
    """A thread asks, which doesn't keep the process from ending."""
    found: list[tuple[bool, bool]] = []

    def work() -> None:
        thread = threading.current_thread()
        found.append((thread is threading.main_thread(), thread.daemon))
        done.set()

    done = threading.Event()
    in_a_thread(Question("a", "db.test"), work)
    assert done.wait(30)
    assert found == [(False, True)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent asks for isn't under way there, and a lock that one of its threads had isn't held."""
    monkeypatch.setattr(QUESTIONS, "_under_way", {"db.test": Question("a", "db.test")})
    holds, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with QUESTIONS._lock:
            holds.set()
            ends.wait(30)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert holds.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, when there are other threads
        child = os.fork()
    if not child:  # pragma: no cover  # measured in the parent only
        free = QUESTIONS._lock.acquire(blocking=False)
        os._exit(0 if free and not QUESTIONS._under_way else 1)
    ends.set()
    thread.join(30)
    assert os.waitpid(child, 0)[1] == 0
