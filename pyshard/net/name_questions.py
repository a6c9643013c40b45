"""Asks for the addresses of names, for all of a process: its clients of every kind, and daemons that dial each other.

`socket.getaddrinfo` waits for the servers of names for as long as they take, often half a minute, and nothing ends that
wait. In the threads of a reactor, of a loop or of the program, a few slow names of one map would keep out all else that
wants a thread. So names have threads of their own.

Rules:

- A name is asked for in a thread that ends with the answer, and that doesn't keep the process from ending.
- There are only so many at a time (`has_room`). One client's slow names can't keep another's out: whoever has many
  under way leaves as many free.
- A name is asked for once at a time, whatever the port. Whoever wants it meanwhile shares the answer.
- No question waits in here. One that finds no room isn't begun, and who wants it comes again: by itself, or when it is
  told that a question has ended. So what nobody wants any more is never asked.
- Numbers and ``localhost`` need no thread (`known_here`).
- In a forked child no question of the parent is under way.
- The system's functions are looked up when they are called, as in `pyshard.blocking.plain_sockets`. While the lock is
  held none is called. It may be entered twice, since a signal's handler may make a call, too.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from pyshard.model.address_text import is_ipv4, is_ipv6
from pyshard.net.ipv6_zones import with_zone_number

#: What `socket.getaddrinfo` gives for one address.
FoundAddress: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]

_LOCAL = ("localhost", "localhost.")  # names that every machine knows by itself
_MOST = 100  # names that a process asks for at a time


def known_here(host: str) -> bool:
    """Whether a host's addresses are known without asking anybody."""
    return is_ipv4(host) or is_ipv6(host) or host.lower() in _LOCAL


def has_room(own: int, all_owners: int, most: int) -> bool:
    """Whether an owner may begin a question: while more places are free than it has taken.

    So the first one gets half of the places at the most, a second one half of the rest, and so on.

    :param own: how many of its questions are under way.
    :param all_owners: how many of all are.
    :param most: how many may be.
    """
    return own < most - all_owners


def addresses_of(host: str, port: int) -> list[FoundAddress]:
    """The addresses of a name, the best first; waits for them.

    :raises OSError: there is none.
    """
    try:
        return ipv4_first([*socket.getaddrinfo(with_zone_number(host), port, type=socket.SOCK_STREAM)])
    except (UnicodeError, ValueError) as error:  # what can't be a name at all
        raise OSError(errno.EHOSTUNREACH, f"{host!r} has no address ({error})") from None
    except socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, f"{host!r} has no address ({error.strerror})") from None


def ipv4_first(found: Sequence[FoundAddress]) -> list[FoundAddress]:
    """The addresses of a name in the order in which they are dialed: those of IPv4 first.

    A daemon whose host is a name listens at its address of IPv4, if it has one (`pyshard.server.listen_address`). Any
    user of its machine may listen at the same port of the other ones, such as ``[::1]`` beside 127.0.0.1.
    """
    return sorted(found, key=lambda address: address[0] != socket.AF_INET)


class Question:
    """One name that is asked for.

    :param owner: for whom it was begun.
    """

    def __init__(self, owner: object, host: str) -> None:
        self.owner = owner
        self.host = host
        self._outcome: Sequence[FoundAddress] | OSError | None = None

    @property
    def ended(self) -> bool:
        """Whether there is an outcome."""
        return self._outcome is not None

    def addresses(self, port: int) -> list[FoundAddress]:
        """What was found, once it has ended, with a port.

        :raises OSError: nothing.
        """
        found = self._outcome
        assert found is not None
        if isinstance(found, OSError):
            raise OSError(*found.args)  # one each: several may raise it at a time
        return [(*one, (name[0], port, *name[2:])) for *one, name in found]  # type: ignore[misc]  # five parts again

    def answer(self) -> None:
        """Find the outcome; waits for it."""
        try:
            self._outcome = addresses_of(self.host, 0)
        except OSError as error:
            self._outcome = error
        except Exception as error:  # noqa: BLE001  # whatever it is: who waits is to hear of it
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, why: str) -> None:
        """Take it that there is no address."""
        self._outcome = OSError(errno.EHOSTUNREACH, f"{self.host!r} has no address ({why})")


def in_a_thread(question: Question, work: Callable[[], None]) -> None:
    """Have a thread do the work of a question."""
    thread = threading.Thread(target=work, name=f"pyshard looks up {question.host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if threading.main_thread().is_alive():  # the system has no thread left
            question.fail(str(error))
        work()  # else the interpreter is about to end, and starts no thread any more


class NameQuestions:
    """The questions of one process.

    :param most: how many names are asked for at a time.
    :param begin: has the work of a question done, in whatever thread.
    """

    def __init__(
        self, most: int = _MOST, begin: Callable[[Question, Callable[[], None]], object] = in_a_thread
    ) -> None:
        self._most = most
        self._begin = begin
        self.forget_all()

    def forget_all(self) -> None:
        """Take it that nothing is under way, and that nobody waits."""
        self._lock = threading.RLock()
        self._under_way: dict[str, Question] = {}
        self._listeners: dict[object, Callable[[], object]] = {}

    def ask(self, owner: object, host: str) -> Question | None:
        """The question for a name: the one that is under way, or one that begins.

        :param owner: for whom: a client, or all that a daemon dials.
        :return: the question, which may have ended; None: it can't begin now.
        """
        name = host.lower()
        made = Question(owner, host)
        try:
            with self._lock:
                found = self._under_way.get(name)
                if found is not None:
                    return found
                under_way = [*self._under_way.values()]  # in one step: a signal's handler may come in between
                own = sum(one.owner is owner for one in under_way)
                if not has_room(own, len(under_way), self._most):
                    return None
                self._under_way[name] = made
            self._begin(made, lambda: self._answer(made))
        except BaseException:  # an interruption: the name must not be taken for one that is asked for
            self._end(made)
            raise
        return made

    def when_one_ends(self, listener: object, told: Callable[[], object]) -> None:
        """Call a function, in whatever thread, when the next question has ended: once for a listener."""
        with self._lock:
            self._listeners[listener] = told

    def listen_no_more(self, listener: object) -> None:
        """Have a listener told of nothing. It may still hear of what ends just now."""
        with self._lock:
            self._listeners.pop(listener, None)

    def _answer(self, question: Question) -> None:
        if not question.ended:
            question.answer()
        self._end(question)

    def _end(self, question: Question) -> None:
        name = question.host.lower()
        with self._lock:
            if self._under_way.get(name) is question:
                del self._under_way[name]
            listeners, self._listeners = self._listeners, {}
        for told in listeners.values():
            told()


#: Those of this process.
QUESTIONS = NameQuestions()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=QUESTIONS.forget_all)
