"""Looks up the addresses of a name, while the thread that waits for them can do other things.

Rules:

- A name that has to be asked of a server is looked up in a thread that ends with the answer, since nothing else ends
  that wait in time. Numbers and ``localhost`` need none.
- Whoever waits looks again and again, with pauses that grow. So one slow name holds up no other shard of a bulk verb.
- Only some are looked up at a time: a map may have thousands of names, and nobody knows how long a server takes.
- The system's functions are looked up when they are called, as in `pyshard.blocking.plain_sockets`.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Sequence

from pyshard.blocking.calling_thread_tasks import Interest, Steps
from pyshard.clocks import steady_seconds
from pyshard.model.address_text import is_ipv4, is_ipv6
from pyshard.net.ipv6_zones import with_zone_number

#: What `socket.getaddrinfo` gives for one address.
FoundAddress = tuple[int, int, int, str, tuple[object, ...]]

_LOCAL = ("localhost", "localhost.")  # names that every machine knows by itself
_MOST = 100  # names that are looked up at a time
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between two looks whether there is an answer


def look_up(host: str, port: int, until: float) -> Steps[Sequence[FoundAddress]]:
    """The addresses of a name, the best first.

    :raises OSError: there is none, or it wasn't found by then.
    """
    if is_ipv4(host) or is_ipv6(host) or host.lower() in _LOCAL:
        return _found(host, port)
    began = steady_seconds()
    question: _Question | None = None
    pause = _FIRST_PAUSE
    while True:
        if question is None and _places():
            question = _Question(host, port)
            question.ask()
        if question is not None and question.ended:
            return question.outcome()
        now = steady_seconds()
        if now >= until:
            raise OSError(errno.EHOSTUNREACH, f"{host!r} was not looked up within {max(0.0, until - began):.2g} s")
        yield from Interest((), min(until, now + pause))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _found(host: str, port: int) -> Sequence[FoundAddress]:
    try:
        found = socket.getaddrinfo(with_zone_number(host), port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:  # what can't be a name at all
        raise OSError(errno.EHOSTUNREACH, f"{host!r} has no address ({error})") from None
    except socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, f"{host!r} has no address ({error.strerror})") from None
    return found


#: The threads that look up names; in a forked child none of the parent's is alive.
_threads: list[threading.Thread] = []


def _places() -> int:
    """How many more names may be looked up now."""
    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    return max(0, _MOST - len(_threads))


class _Question:
    """One name, in a thread that ends with the answer."""

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port
        self._outcome: list[Sequence[FoundAddress] | OSError] = []

    @property
    def ended(self) -> bool:
        """Whether there is an outcome."""
        return bool(self._outcome)

    def ask(self) -> None:
        """Begin."""
        thread = threading.Thread(target=self._run, name=f"pyshard looks up {self._where[0]}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is about to end, and starts no thread any more
            self._run()
        else:
            _threads.append(thread)

    def outcome(self) -> Sequence[FoundAddress]:
        """What was found, once it has ended.

        :raises OSError: nothing.
        """
        (found,) = self._outcome
        if isinstance(found, OSError):
            raise found
        return found

    def _run(self) -> None:
        try:
            self._outcome.append(_found(*self._where))
        except OSError as error:
            self._outcome.append(error)
