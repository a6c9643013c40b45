"""One address keeps no other one out of a daemon's HTTP port, and has no other one wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import Clock

from pyshard.http import bounded_site
from pyshard.http.bounded_site import BoundedSite
from pyshard.http.deferred_page import DeferredPage
from pyshard.http.event_streams import EventStreams, event_of
from pyshard.http.token_guard import TokenGuard
from pyshard.http.web_page import Root
from pyshard.settings import settings

Connect = Callable[..., Any]

PROBE, OTHER = "192.0.2.1", "192.0.2.2"


def test_a_health_check_beside_an_address_with_all_places(connect: Connect, clock: Clock) -> None:
    """It gets one of them, and is answered within a turn or two, however many others wait, and ask again."""
    crowd = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    for _ in range(2):
        for peer in crowd:
            peer.get()
    for _ in range(5):
        probe = connect(PROBE)
        assert not probe.ended
        probe.get()
        for _ in range(2):
            clock.advance(1 / settings.HTTP_PACE + 0.001)
            for peer in crowd:
                if not peer.ended and peer.heard():
                    peer.get()
        assert probe.heard().endswith(b"hello\n")
        assert not probe.ended
        probe.lose()
    assert sum(peer.ended for peer in crowd) == 1


def test_an_address_that_has_all_of_them_answered(root: Root, connect: Connect, clock: Clock) -> None:
    """Who reads slowly, over all connections, has one ended for another address; the oldest one."""
    root.putChild(b"slow", DeferredPage(lambda _: Deferred(), None, b"text/plain"))
    crowd = [connect() for _ in range(settings.HTTP_CONNECTIONS)]
    for peer in crowd:
        peer.get("/slow")
    clock.pump([1 / settings.HTTP_PACE + 0.001] * settings.HTTP_CONNECTIONS)
    probe = connect(PROBE)
    assert probe.get().endswith(b"hello\n")
    assert [peer.ended for peer in crowd] == [True, *[False] * (len(crowd) - 1)]


def test_the_heaviest_pays(connect: Connect) -> None:
    """However often it connects, it takes no place of an address that has fewer."""
    few = [connect(host) for host in (PROBE, OTHER)]
    for _ in range(3 * settings.HTTP_CONNECTIONS):
        connect()
    assert not any(peer.ended for peer in few)


def test_turns_between_addresses(connect: Connect, clock: Clock) -> None:
    """Two that ask all the time have as many answers, though one has ten times as many connections."""
    many, few = [connect() for _ in range(40)], [connect(PROBE) for _ in range(4)]
    answers = {"many": 0, "few": 0}
    for peer in [*many, *few]:
        peer.get()
    for _ in range(200):
        clock.advance(1 / settings.HTTP_PACE + 0.001)
        for name, peers in (("many", many), ("few", few)):
            for peer in peers:
                if peer.heard():
                    answers[name] += 1
                    peer.get()
    assert abs(answers["many"] - answers["few"]) <= 50


class Port:
    """The connections that wait in the system's queue, by their addresses, in front of a site."""

    def __init__(self, site: BoundedSite, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[str] = []
        self.made: list[Any] = []
        self._connect = connect
        monkeypatch.setattr(bounded_site, "bound_accepts", self._bound)
        site.listens(cast(IListeningPort, self))

    def _bound(
        self, _: object, in_turn: Callable[[Callable[[int], None]], None], may_connect: Callable[[IAddress], bool]
    ) -> None:
        self.in_turn, self._may_connect = in_turn, may_connect

    def accept(self, count: int) -> None:
        """What the port does."""
        for _ in range(min(count, len(self.waiting))):
            host = self.waiting.pop(0)
            if self._may_connect(IPv4Address("TCP", host, 1)):
                self.made.append(self._connect(host))

    def turns(self) -> int:
        """Accept all that wait.

        :return: how many turns of the reactor that took.
        """
        count = 0
        while self.waiting:
            self.in_turn(self.accept)
            count += 1
        return count


@pytest.fixture
def port(site: BoundedSite, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Port:
    """Nobody connects yet."""
    return Port(site, connect, monkeypatch)


def test_who_connects_again_and_again(port: Port, clock: Clock) -> None:
    """Its connections are closed at once, so that who stands behind it is soon reached; after a second it has some."""
    port.waiting = ["127.0.0.1"] * 100
    assert port.turns() == 50
    port.waiting = ["127.0.0.1"] * 900 + [PROBE]
    assert port.turns() <= 11
    assert len(port.made) == 101
    assert port.made[-1].get().endswith(b"hello\n")
    clock.advance(1)
    port.waiting = ["127.0.0.1"] * 500
    port.turns()
    assert len(port.made) == 151


def test_one_connection_that_is_answered_counts_once(port: Port) -> None:
    """Whoever asks over one all the time may not open others for each answer."""
    port.waiting = ["127.0.0.1"] * 100
    port.turns()
    for _ in range(20):
        port.made[0].get()
    port.waiting = ["127.0.0.1"] * 20
    port.turns()
    assert len(port.made) == 101


def test_who_connects_for_each_question(port: Port, clock: Clock) -> None:
    """It is let in as long as it is answered, as often as it likes; a question that waits doesn't count."""
    for number in range(500):
        port.waiting = [PROBE]
        port.turns()
        peer = port.made[number]
        assert peer.get().endswith(b"hello\n")
        peer.lose()
        clock.advance(0.1)
    port.made.clear()
    for _ in range(500):
        port.waiting = [PROBE]
        port.turns()
        port.made[-1].get()
    assert len(port.made) == pytest.approx(100 + settings.HTTP_BURST, abs=1)


@pytest.fixture
def streams(clock: Clock) -> EventStreams:
    """A page that goes on for ever."""
    return EventStreams(clock, TokenGuard(None), lambda: event_of(b"first"))


def test_streams_of_one_address(root: Root, connect: Connect, streams: EventStreams) -> None:
    """They make room for those of another one, until it has as many; then a further one is refused."""
    root.putChild(b"page", streams)
    crowd = [connect() for _ in range(settings.HTTP_STREAMS)]
    for peer in crowd:
        assert b"200 OK" in peer.get()
    assert b"503" in connect().get()
    others = [connect(PROBE).get() for _ in range(settings.HTTP_STREAMS)]
    taken = settings.HTTP_STREAMS // 2
    assert [b"200 OK" in said for said in others] == [True] * taken + [False] * (len(others) - taken)
    assert len(streams) == settings.HTTP_STREAMS
    streams.send(event_of(b"next"))
    assert [b"next" in peer.heard() for peer in crowd] == [False] * taken + [True] * (len(crowd) - taken)
