"""Dialing a name that may have several addresses: the first that answers wins (Happy Eyeballs)."""

from __future__ import annotations

from collections import deque

from pyshard.blocking.calling_thread_tasks import Interest, Network, PlainSocket, Steps
from pyshard.client_core.conversation import Broken

_STAGGER = 0.05  # seconds until the next address of a name is tried as well ("localhost" often has two)


class TooLate(Exception):
    """The time came before the answer."""


def dial(network: Network, host: str, port: int, until: float) -> Steps[PlainSocket]:
    """Connect to the first address of a name that answers.

    :raises Broken: none does; the message says why.
    :raises TooLate: none did in time.
    """
    left = deque((yield from network.addresses(host, port, until)))
    trying: list[PlainSocket] = []
    next_start, why = 0.0, "it has no address"
    try:
        while True:
            if left and (not trying or network.now() >= next_start):
                next_start = network.now() + _STAGGER
                try:
                    trying.append(network.open(left.popleft()))
                except OSError as error:
                    refused = broken(error)
                    if refused is error:
                        raise
                    why = str(refused)
                continue
            if not trying:
                raise Broken(why)
            ready = yield from Interest([(one, True) for one in trying], min(until, next_start) if left else until)
            if not ready and network.now() >= until:
                raise TooLate
            for one in ready:
                trying.remove(one)
                failure = one.failure()
                if failure is None:
                    return one
                one.close()
                why, next_start = failure, 0.0
    finally:
        for one in trying:
            one.close()


def broken(error: OSError) -> Exception:
    """What an error of the system means: `Broken`, with the reason in one line.

    An error without a number isn't the system's: such as a TimeoutError, which a signal's handler has raised here.
    """
    if error.errno is None:
        return error
    text = error.strerror or str(error)
    return Broken(text.lower() if isinstance(error, ConnectionError) else text)
