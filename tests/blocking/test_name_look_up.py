"""Names that a server takes its time for: nobody else waits for them, no other client either."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
from net.held_questions import HeldQuestions, address

from pyshard.blocking import plain_sockets
from pyshard.blocking.calling_thread_tasks import Steps, run, together
from pyshard.blocking.name_look_up import look_up
from pyshard.blocking.plain_sockets import SystemNetwork
from pyshard.clocks import steady_seconds
from pyshard.net.name_questions import FoundAddress

ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
LONG = 30.0  # seconds


class Server:
    """Answers at once, but for names that begin with ``slow``: it answers those when it is told to.

    :ivar asked: the names that it was asked for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: object) -> list[object]:
        """See `socket.getaddrinfo`."""
        self.asked.append(host)
        if host.startswith("slow"):
            assert self.answers.wait(LONG)
        if host == "none.test":
            raise socket.gaierror(-2, "Name or service not known")
        return [ADDRESS]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server that names are asked of."""
    made = Server()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.answers.set()
    for thread in threading.enumerate():
        if thread.name.startswith("pyshard looks up"):
            thread.join(LONG)


def test_a_slow_name_beside_another(server: Server) -> None:
    """Of two that one thread looks up together, the quick one is there while the slow one isn't."""
    network = SystemNetwork()
    until = network.now() + LONG
    several = [network.addresses(name, 1, until) for name in ("slow.test", "quick.test")]
    assert run(network, together(network, several, one_is_enough=True)) == [[ADDRESS]]
    assert not server.answers.is_set()


@pytest.mark.parametrize(
    ("name", "seconds", "why"),
    [("none.test", LONG, "has no address"), ("slow.test", 0.05, r"was not looked up within 0\.0\d+ s")],
)
def test_no_address(server: Server, name: str, seconds: float, why: str) -> None:
    """A name without an address, and one that isn't found in time, are errors that name it."""
    network = SystemNetwork()
    with pytest.raises(OSError, match=f"'{name}' {why}"):
        run(network, network.addresses(name, 1, network.now() + seconds))


def _next(steps: Steps[Sequence[FoundAddress]]) -> Sequence[FoundAddress] | None:
    """Let somebody who waits look again; what there is."""
    try:
        next(steps)
    except StopIteration as ended:
        found: Sequence[FoundAddress] = ended.value
        return found
    return None


def test_many_slow_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many of one client are asked for at a time, another client's name beside them; the others in turn.

    One that nobody waits for any more has no turn.
    """
    held = HeldQuestions(monkeypatch, 4)
    until = steady_seconds() + LONG
    slow = [look_up("greedy", f"slow{number}.test", 1, until, held.questions) for number in range(4)]
    quick = look_up("other", "quick.test", 1, until, held.questions)
    assert [_next(steps) for steps in (*slow, quick)] == [None] * 5
    assert held.under_way == ["slow0.test", "slow1.test", "quick.test"]
    held.answer("quick.test")
    assert _next(quick) == [address("10.0.0.1", 1), address("10.0.0.2", 1)]
    held.answer("slow0.test")
    slow[2].close()
    assert [_next(steps) is None for steps in (slow[0], slow[3])] == [False, True]
    assert held.under_way == ["slow1.test", "slow3.test"]


def test_a_slow_name_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that gave up has left its question, whose answer the next one takes."""
    held = HeldQuestions(monkeypatch)
    first = look_up("client", "slow.test", 1, steady_seconds() + LONG, held.questions)
    assert _next(first) is None
    first.close()
    second = look_up("client", "slow.test", 2, steady_seconds() + LONG, held.questions)
    assert _next(second) is None
    held.answer("slow.test")
    assert _next(second) == [address("10.0.0.1", 2), address("10.0.0.2", 2)]
    assert held.asked == [("slow.test", 0)]


def test_each_client_asks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that each client has is the one for which its names are asked."""
    owners: list[object] = []
    monkeypatch.setattr(plain_sockets, "look_up", lambda owner, *_: owners.append(owner))
    networks = [SystemNetwork(), SystemNetwork()]
    for network in networks:
        network.addresses("db.test", 1, 0)
    assert owners == networks
