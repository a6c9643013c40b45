"""Names that a server takes its time for: nobody else waits for them, and only some are asked for at a time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pyshard.blocking import name_look_up
from pyshard.blocking.calling_thread_tasks import run, together
from pyshard.blocking.plain_sockets import SystemNetwork

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
    for thread in name_look_up._threads:
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


def test_many_slow_names(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are asked for at a time; the others have their turn when these have ended, or fail in time."""
    monkeypatch.setattr(name_look_up, "_MOST", 3)
    network = SystemNetwork()
    until = network.now() + LONG
    steps = [network.addresses(f"slow{number}.test", 1, until) for number in range(3)]
    waiting = [next(one) for one in steps]
    while len(server.asked) < 3:
        assert network.now() < until
        time.sleep(0.01)
    with pytest.raises(OSError, match=r"'quick\.test' was not looked up within"):
        run(network, network.addresses("quick.test", 1, network.now() + 0.05))
    assert (len(waiting), sorted(server.asked)) == (3, ["slow0.test", "slow1.test", "slow2.test"])
    server.answers.set()
    assert run(network, network.addresses("quick.test", 1, until)) == [ADDRESS]
    for one in steps:
        one.close()
