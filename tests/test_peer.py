"""An outgoing connection: who gets to use it, when it is dialed again, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random

import pytest
from deferreds import result
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard import commands
from pyshard.errors import BadRequest, WrongIdentity
from pyshard.peer import Greeting, Peer, PeerConnection, reason_of
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork
from pyshard.wire.connection import BoundedAMP

WHERE = ("127.0.0.1", 5050)

HELLO: dict[str, object] = {
    "protocol": commands.PROTOCOL,
    "role": "shard",
    "identity": "1d",
    "cluster": "c1",
    "name": "low",
    "epoch": 7,
    "ephemeral": True,
    "connection": "c1",
}


class Daemon(BoundedAMP):
    """The other side."""

    def __init__(self, clock: Clock, hello: object) -> None:
        self._hello = hello
        super().__init__(clock)

    def responders(self) -> Iterable[tuple[type[amp.Command], Callable[..., object]]]:
        if self._hello is not None:
            yield commands.Hello, self.hello
        yield commands.Ping, dict

    def hello(self, protocol: int, session: bytes | None) -> object:
        assert protocol == commands.PROTOCOL
        return self._hello


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Notes when it is dialed; leads into the network, or nowhere."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.dials: list[float] = []
        self.hangs = False
        self.cancelled = 0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        self.dials.append(self.network.clock.seconds())
        return Deferred(self._cancel) if self.hangs else self.network.connect(WHERE, protocolFactory)

    def _cancel(self, _: Deferred[IProtocol]) -> None:
        self.cancelled += 1


class Bench:
    """A peer, what it is led to, and what it said."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.endpoint = Endpoint(self.network)
        self.daemons: list[Daemon] = []
        self.hello: object = HELLO  # what the daemon answers, at once or in a Deferred; None: it has no Hello
        self.wanted = True
        self.greetings: list[Greeting] = []
        self.approves: Callable[[], object] = lambda: None
        self.ups: list[PeerConnection] = []
        self.downs: list[str] = []
        self.peer = Peer(
            self.clock,
            self.endpoint,
            self._approve,
            lambda: self.wanted,
            self.ups.append,
            self.downs.append,
            Random(seed),
        )

    @property
    def dials(self) -> list[float]:
        """When it was dialed."""
        return self.endpoint.dials

    def listen(self) -> None:
        """Have a daemon where the endpoint leads."""
        self.network.listen(*WHERE).listen(Factory.forProtocol(self._daemon))

    def refuse(self) -> None:
        """Have nobody there any more; connections that there are stay."""
        del self.network.listeners[WHERE]

    def connected(self) -> PeerConnection:
        """Listen, dial, and come to be connected."""
        self.listen()
        self.peer.ensure()
        self.network.settle()
        assert len(self.ups) == 1
        return self.ups[0]

    def _daemon(self) -> Daemon:
        self.daemons.append(Daemon(self.clock, self.hello))
        return self.daemons[-1]

    def _approve(self, connection: PeerConnection, greeting: Greeting) -> object:
        self.greetings.append(greeting)
        return self.approves()


@pytest.fixture
def bench() -> Bench:
    """A peer whose endpoint leads to nobody yet."""
    return Bench()


def gaps(times: list[float]) -> list[float]:
    """The time between neighbors."""
    return [later - earlier for earlier, later in pairwise(times)]


# -- coming up ------------------------------------------------------------------------------------------------------


def test_connects(bench: Bench) -> None:
    """It dials, hears who answers, has that approved, and gives the connection, which can be used."""
    connection = bench.connected()
    assert bench.greetings == [Greeting(commands.PROTOCOL, "shard", "1d", "c1", "low", 7, True, "c1")]
    assert bench.peer.connection is connection
    assert (bench.dials, bench.downs) == ([0.0], [])
    asked = connection.call(commands.Ping, 1)
    bench.network.settle()
    assert result(asked) == {}


def test_nothing_is_dialed_unasked(bench: Bench) -> None:
    """Until somebody wants the connection nothing is dialed."""
    bench.listen()
    bench.network.advance(10)
    assert (bench.dials, bench.peer.connection) == ([], None)


def test_one_connection(bench: Bench) -> None:
    """However often it is wanted: one attempt at a time, and one connection."""
    bench.listen()
    for _ in range(3):
        bench.peer.ensure()
    bench.network.settle()
    for _ in range(3):
        bench.peer.ensure()
    bench.network.advance(100)
    assert (len(bench.dials), len(bench.ups)) == (1, 1)


def test_approval_that_takes_time(bench: Bench) -> None:
    """Nobody gets the connection before it is approved."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.peer.ensure()
    bench.network.advance(4)
    assert (len(bench.greetings), bench.ups, bench.peer.connection) == (1, [], None)
    approval.callback(None)
    assert bench.ups == [bench.peer.connection]
    bench.network.advance(100)
    assert (bench.downs, len(bench.dials)) == ([], 1)


# -- failing to come up ---------------------------------------------------------------------------------------------


def test_refused(bench: Bench) -> None:
    """Where nobody listens the attempt fails at once, with the reason, and is made again."""
    bench.peer.ensure()
    assert bench.downs == ["connection refused"]
    bench.network.advance(0.06)
    assert len(bench.dials) == 2
    bench.listen()
    bench.network.advance(1)
    assert len(bench.ups) == 1


def test_not_approved(bench: Bench) -> None:
    """A peer that isn't approved loses the connection; it is dialed again, since another may be there by then."""

    def refuse() -> None:
        raise WrongIdentity("another shard answers here")

    bench.approves = refuse
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    assert (bench.downs, bench.ups, bench.peer.connection) == (["another shard answers here"], [], None)
    assert [daemon.transport for daemon in bench.daemons] == [None]
    bench.approves = lambda: None
    bench.network.advance(0.06)
    assert len(bench.ups) == 1


def test_not_approved_later(bench: Bench) -> None:
    """An approval that fails later refuses as well."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    approval.errback(WrongIdentity("no"))
    bench.network.settle()
    assert (bench.downs, bench.ups) == (["no"], [])
    assert [daemon.transport for daemon in bench.daemons] == [None]


@pytest.mark.parametrize("version", [0, 2])
def test_other_version(bench: Bench, version: int) -> None:
    """A peer with another version of the protocol isn't even looked at."""
    bench.hello = {**HELLO, "protocol": version}
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    assert bench.downs == [f"the peer speaks version {version} of the protocol, this side 1"]
    assert (bench.greetings, bench.ups) == ([], [])
    assert [daemon.transport for daemon in bench.daemons] == [None]


def test_no_pyshard_daemon(bench: Bench) -> None:
    """A peer that speaks AMP and knows no Hello is told apart."""
    bench.hello = None
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    assert (bench.downs, bench.ups) == (["the peer is no pyshard daemon"], [])


def test_half_a_greeting(bench: Bench) -> None:
    """A greeting that lacks something is a failed attempt like others."""
    bench.hello = Deferred()
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    assert bench.daemons[0].transport is not None
    bench.daemons[0].transport.write(b"\0\x07_answer\0\x011\0\x08protocol\0\x011\0\0")
    bench.network.settle()
    assert (len(bench.downs), bench.ups, bench.greetings) == (1, [], [])
    assert bench.daemons[0].transport is None


def test_silent_peer(bench: Bench) -> None:
    """A peer that accepts and says nothing costs one timeout, and its connection is given up."""
    bench.listen()
    bench.network.silence(*WHERE)
    bench.peer.ensure()
    bench.network.advance(settings.TIMEOUT - 0.1)
    assert (bench.downs, len(bench.dials)) == ([], 1)
    bench.network.advance(0.11)
    assert bench.downs == ["no answer to Hello within 5 s"]
    assert bench.daemons[0].transport is None
    bench.network.unsilence(*WHERE)
    bench.network.advance(0.1)
    assert len(bench.ups) == 1


def test_connecting_takes_too_long(bench: Bench) -> None:
    """An attempt that comes to nothing is given up after its timeout, and another one is made."""
    bench.listen()
    bench.endpoint.hangs = True
    bench.peer.ensure()
    bench.network.advance(settings.TIMEOUT - 0.1)
    assert (bench.downs, bench.endpoint.cancelled) == ([], 0)
    bench.endpoint.hangs = False
    bench.network.advance(0.2)
    assert (bench.downs, bench.endpoint.cancelled) == (["no connection and greeting within 5 s"], 1)
    assert len(bench.ups) == 1


def test_approval_takes_too_long(bench: Bench) -> None:
    """The timeout is one for connecting, greeting and approval together."""
    bench.approves = Deferred
    bench.listen()
    bench.peer.ensure()
    bench.network.advance(settings.TIMEOUT + 0.01)
    assert bench.downs == ["no connection and greeting within 5 s"]
    assert bench.daemons[0].transport is None
    bench.approves = lambda: None
    bench.network.advance(0.1)
    assert len(bench.ups) == 1


def test_lost_during_greeting(bench: Bench) -> None:
    """A connection that breaks before the answer to Hello is a failed attempt."""
    bench.listen()
    bench.network.silence(*WHERE)
    bench.peer.ensure()
    bench.network.settle()
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert (bench.downs, bench.ups) == (
        ["the connection was closed before any answer; perhaps the peer speaks TLS"],
        [],
    )


def test_lost_during_approval(bench: Bench) -> None:
    """A connection that is approved when it has broken already is given to nobody."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    bench.network.cut(*WHERE)
    bench.network.settle()
    approval.callback(None)
    assert (bench.downs, bench.ups, bench.peer.connection) == (["the connection was lost"], [], None)
    bench.approves = lambda: None
    bench.network.advance(0.1)
    assert len(bench.ups) == 1


# -- back-off -------------------------------------------------------------------------------------------------------


def test_back_off_grows_to_a_bound() -> None:
    """The nth pause is 50 ms doubled n - 1 times, at most 1 s, less up to half of it by chance."""
    longest = [0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 30]
    shares = []
    for seed in range(20):
        bench = Bench(seed)
        bench.peer.ensure()
        bench.network.advance(60)
        pauses = gaps(bench.dials)[: len(longest)]
        assert len(pauses) == len(longest)
        shares += [pause / most for pause, most in zip(pauses, longest, strict=True)]
    assert 0.5 - 1e-9 <= min(shares) < 0.51
    assert 0.99 < max(shares) <= 1 + 1e-9
    assert 0.72 < sum(shares) / len(shares) < 0.78


def test_back_off_is_jittered() -> None:
    """Two peers that fail together don't come back together; the same seed gives the same times."""
    times = []
    for seed in (1, 2, 2):
        bench = Bench(seed)
        bench.peer.ensure()
        bench.network.advance(10)
        times.append(bench.dials)
    assert set(times[0]) & set(times[1]) == {0.0}
    assert times[1] == times[2]


def test_back_off_lasts_for_years(bench: Bench) -> None:
    """The pause stays what it is, however often it failed before."""
    bench.peer._failures = 10_000
    bench.peer.ensure()
    bench.network.advance(10)
    assert max(gaps(bench.dials)) <= 1 + 1e-9


def test_back_off_begins_anew(bench: Bench) -> None:
    """After a connection that could be used the first pause is short again."""
    bench.peer.ensure()
    bench.network.advance(30)
    bench.listen()
    bench.network.advance(2)
    assert len(bench.ups) == 1
    bench.refuse()
    before = len(bench.dials)
    bench.network.cut(*WHERE)
    lost = bench.clock.seconds()
    bench.network.advance(0.051)
    assert len(bench.dials) == before + 1
    assert 0.025 <= bench.dials[-1] - lost <= 0.05


def test_wanting_does_not_shorten_the_pause(bench: Bench) -> None:
    """Who wants the connection during a pause waits for its end."""
    bench.peer.ensure()
    bench.network.advance(10)
    before = len(bench.dials)
    for _ in range(10):
        bench.peer.ensure()
    assert len(bench.dials) == before


# -- wanted or not --------------------------------------------------------------------------------------------------


def test_not_wanted_any_more(bench: Bench) -> None:
    """A failed attempt is not repeated when nobody wants the connection, until somebody does."""
    bench.wanted = False
    bench.peer.ensure()
    bench.network.advance(10)
    assert (len(bench.dials), len(bench.downs)) == (1, 1)
    bench.listen()
    bench.peer.ensure()
    bench.network.settle()
    assert len(bench.ups) == 1


def test_not_wanted_when_the_pause_ends(bench: Bench) -> None:
    """A pause at whose end nobody wants the connection any more ends in nothing, and leaves nothing behind."""
    bench.peer.ensure()
    bench.wanted = False
    bench.network.advance(10)
    assert len(bench.dials) == 1
    bench.wanted = True
    bench.peer.ensure()
    assert len(bench.dials) == 2


# -- ends -----------------------------------------------------------------------------------------------------------


def test_lost(bench: Bench) -> None:
    """A connection that breaks is reported once, its calls fail, and another one is dialed."""
    connection = bench.connected()
    bench.network.silence(*WHERE)
    asked = connection.call(commands.Ping, 1)
    bench.network.settle()
    bench.network.unsilence(*WHERE)
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert (bench.downs, bench.peer.connection) == (["the connection was closed"], None)
    with pytest.raises(ConnectionDone):
        result(asked)
    bench.network.advance(0.06)
    assert len(bench.ups) == 2
    assert bench.peer.connection is bench.ups[1]


def test_lost_and_not_wanted(bench: Bench) -> None:
    """A connection that breaks when nobody wants it is not dialed again."""
    bench.connected()
    bench.wanted = False
    bench.network.cut(*WHERE)
    bench.network.advance(10)
    assert (len(bench.downs), len(bench.dials)) == (1, 1)


def test_loss_is_known_before_calls_fail(bench: Bench) -> None:
    """Whoever hears that a call failed because the connection broke doesn't find that connection any more."""
    connection = bench.connected()
    bench.network.silence(*WHERE)
    found: list[PeerConnection | None] = []
    connection.call(commands.Ping, 60).addErrback(lambda _: found.append(bench.peer.connection))
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert found == [None]


def test_drop(bench: Bench) -> None:
    """Dropping a connection fails its calls, is reported once, and another one is dialed."""
    connection = bench.connected()
    bench.network.silence(*WHERE)
    asked = connection.call(commands.Ping, 60)
    bench.network.settle()
    bench.peer.drop()
    assert (bench.downs, bench.peer.connection) == (["the connection was closed"], None)
    bench.network.settle()
    with pytest.raises(ConnectionDone):
        result(asked)
    assert bench.daemons[0].transport is None
    bench.network.unsilence(*WHERE)
    bench.network.advance(0.06)
    assert (len(bench.downs), len(bench.ups)) == (1, 2)


def test_drop_nothing(bench: Bench) -> None:
    """Without a connection there is nothing to drop."""
    bench.peer.drop()
    assert (bench.downs, bench.dials) == ([], [])


def test_close(bench: Bench) -> None:
    """Closing ends the connection for good, says nothing, and is done when the connection is closed."""
    bench.connected()
    closed = bench.peer.close()
    assert not closed.called
    bench.network.settle()
    assert result(closed) is None
    assert bench.daemons[0].transport is None
    assert bench.clock.getDelayedCalls() == []
    bench.peer.ensure()
    bench.network.advance(100)
    assert (bench.downs, len(bench.dials), bench.peer.connection) == ([], 1, None)
    assert bench.clock.getDelayedCalls() == []


def test_close_twice(bench: Bench) -> None:
    """Closing again is done at once."""
    bench.connected()
    bench.peer.close()
    bench.network.settle()
    assert result(bench.peer.close()) is None


def test_close_waits_for_a_bounded_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that doesn't get rid of its last bytes is ended after a second."""
    connection = bench.connected()
    monkeypatch.setattr(connection, "close", lambda: None)
    closed = bench.peer.close()
    bench.network.advance(0.9)
    assert not closed.called
    bench.network.advance(0.2)
    assert result(closed) is None
    assert bench.daemons[0].transport is None


def test_close_while_connecting(bench: Bench) -> None:
    """An attempt under way is given up without a word."""
    bench.endpoint.hangs = True
    bench.peer.ensure()
    assert result(bench.peer.close()) is None
    assert (bench.endpoint.cancelled, bench.downs) == (1, [])
    bench.network.advance(100)
    assert (len(bench.dials), bench.clock.getDelayedCalls()) == (1, [])


@pytest.mark.parametrize("silent", [True, False])
def test_close_while_greeting(bench: Bench, silent: bool) -> None:
    """A connection that isn't approved yet is closed too, whether Hello or the approval takes its time."""
    bench.approves = Deferred
    bench.listen()
    if silent:
        bench.network.silence(*WHERE)
    bench.peer.ensure()
    bench.network.settle()
    closed = bench.peer.close()
    assert not closed.called
    bench.network.settle()
    assert result(closed) is None
    assert bench.daemons[0].transport is None
    bench.network.advance(100)
    assert (len(bench.dials), bench.downs, bench.ups) == (1, [], [])


def test_close_during_a_pause(bench: Bench) -> None:
    """A pause is ended, and nothing is dialed after it; closing again is no mistake."""
    bench.peer.ensure()
    for _ in range(2):
        assert result(bench.peer.close()) is None
    assert bench.clock.getDelayedCalls() == []
    assert (len(bench.dials), len(bench.downs)) == (1, 1)


def test_closing_in_answer_to_bad_news(bench: Bench) -> None:
    """Whoever hears of a failure may close at once; nothing is dialed then."""
    closed: list[Deferred[None]] = []
    bench.peer._on_down = lambda _: closed.append(bench.peer.close())
    bench.peer.ensure()
    bench.network.advance(10)
    assert (len(bench.dials), len(closed), bench.clock.getDelayedCalls()) == (1, 1, [])


# -- reasons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(string="Connection refused"), "connection refused"),
        (ConnectionRefusedError(), "Connection was refused by other side."),
        (ConnectTimeoutError(), "User timeout caused connection failure."),
        (ConnectError(113, "No route to host"), "no route to host"),
        (
            DNSLookupError("no results for hostname lookup: nowhere"),
            "DNS lookup failed: no results for hostname lookup: nowhere.",
        ),
        (ConnectionDone(), "the connection was closed"),
        (ConnectionLost(), "the connection was closed"),
        (ConnectionAborted(), "the connection was closed"),
        (amp.UnhandledCommand(b"UNHANDLED", "Unhandled Command: b'Hello'"), "the peer is no pyshard daemon"),
        (BadRequest("why"), "why"),
        (BadRequest("why\n\x1b[2J"), r"why\n\x1b[2J"),
        (TimeoutError("no answer to Hello within 5 s"), "no answer to Hello within 5 s"),
        (CancelledError(), "CancelledError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_reasons(error: Exception, reason: str) -> None:
    """Why there is no connection, in a few words."""
    assert reason_of(Failure(error)) == reason
