"""Questions beside the operations: what is asked again, what isn't, and when each one ends."""

from __future__ import annotations

from typing import Any, cast

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.client.rpc_channel import RpcChannel
from pyshard.errors import (
    BadRequest,
    ClientClosed,
    IndexExists,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    Unavailable,
)
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.settings import settings


class Connection:
    """A connection on which the test answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[type[Command], dict[str, object]]] = []
        self.answers: list[Deferred[Any]] = []
        self.owed = 0
        self.small = False

    def expect_small(self) -> None:
        """No larger box is taken than small answers."""
        self.small = True

    def expect_large(self) -> None:
        """Any box is."""
        self.small = False

    def callRemote(self, command: type[Command], **arguments: object) -> Deferred[Any]:
        """What `RpcChannel` calls."""
        self.asked.append((command, arguments))
        self.answers.append(Deferred())
        return self.answers[-1]


class Peer:
    """The peer that is asked, with its clock; `up` and `down` are its connection's."""

    def __init__(self, patience: float = 60.0) -> None:
        self.clock = Clock()
        self.dialed = 0
        self.dropped = 0
        self.connection: DialedConnection | None = None
        self.doubtful = False  # whether the connection is made sure of before it is used
        self.rpc = RpcChannel(self.clock, self, patience)

    @property
    def dialer(self) -> Dialer:
        """See `RpcOwner`; this object stands in for it."""
        return cast("Dialer", self)

    def peer_name(self) -> str:
        """See `RpcOwner`."""
        return "the peer"

    def up(self) -> Connection:
        """Connect."""
        connection = Connection()
        self.connection = cast("DialedConnection", connection)
        self.rpc.connected(self.connection)
        return connection

    def down(self, *connections: Connection) -> None:
        """Lose the connection: as the dialer does, first say so, then fail what was asked on it."""
        self.connection = None
        self.rpc.disconnected("the wire broke")
        for connection in connections:
            for answer in connection.answers:
                if not answer.called:
                    answer.errback(Failure(ConnectionLost()))

    def acquire(self) -> DialedConnection | None:
        """What the channel asks of the dialer."""
        self.dialed += self.connection is None
        return None if self.doubtful else self.connection

    def drop(self) -> None:
        """What the channel asks of the dialer."""
        self.dropped += 1


@pytest.fixture
def peer() -> Peer:
    """A peer with which nobody loses patience."""
    return Peer()


def failure_in(outcome: list[Any], kind: type[BaseException]) -> str:
    """The message of the one error in there."""
    assert [type(one) for one in outcome] == [kind]
    return str(outcome[0])


def test_a_question_is_asked_at_once_when_there_is_a_connection(peer: Peer) -> None:
    """A connected peer is asked in the same call, with the arguments given; the answer comes back as it is."""
    connection = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    assert connection.asked == [(commands.CreateIndex, {"name": "pages"})]
    states = [(list(outcome), peer.rpc.pending)]
    connection.answers[0].callback({"epoch": 7})
    states.append((list(outcome), peer.rpc.pending))
    assert states == [([], True), ([{"epoch": 7}], False)]
    assert peer.dialed == 0
    assert peer.clock.getDelayedCalls() == []


def test_without_a_connection_the_peer_is_dialed_and_the_question_waits(peer: Peer) -> None:
    """Questions asked before the peer is there go out when it is, in order."""
    outcomes = [watch(peer.rpc.call(commands.Ping, 5)), watch(peer.rpc.call(commands.GetMap, 5))]
    assert peer.dialed == 2
    connection = peer.up()
    assert [command for command, _ in connection.asked] == [commands.Ping, commands.GetMap]
    connection.answers[1].callback({"state": b""})
    connection.answers[0].callback({})
    assert outcomes == [[{}], [{"state": b""}]]


def test_a_connection_that_is_up_again(peer: Peer) -> None:
    """When a connection turns out to be alive after all, only what waited for that is asked."""
    connection = peer.up()
    first = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    peer.connection = None  # it was silent, and is asked for a sign of life
    second = watch(peer.rpc.call(commands.GetMap, 5))
    assert [command for command, _ in connection.asked] == [commands.CreateIndex]
    peer.rpc.connected(cast("DialedConnection", connection))
    assert [command for command, _ in connection.asked] == [commands.CreateIndex, commands.GetMap]
    connection.answers[0].callback({"epoch": 7})
    connection.answers[1].callback({"state": b""})
    assert (first, second) == ([{"epoch": 7}], [{"state": b""}])


@pytest.mark.parametrize("connected", [True, False])
def test_questions_that_wait_are_bounded(peer: Peer, connected: bool) -> None:
    """One question over the limit fails at once, and is neither sent nor kept; an answer makes room for another."""
    connection = peer.up() if connected else None
    open_ones = [watch(peer.rpc.call(commands.Ping, 60)) for _ in range(settings.MAX_QUESTIONS)]
    assert not any(open_ones)
    for _ in range(2):
        message = failure_in(watch(peer.rpc.call(commands.Ping, 60)), Overloaded)
        assert message.startswith("1,000 questions to the peer wait for their answers already")
    connection = connection or peer.up()
    assert len(connection.asked) == settings.MAX_QUESTIONS
    connection.answers[5].callback({})
    assert watch(peer.rpc.call(commands.Ping, 60)) == []
    assert len(connection.asked) == settings.MAX_QUESTIONS + 1
    assert failure_in(watch(peer.rpc.call(commands.Ping, 60)), Overloaded)


def test_a_question_that_reads_is_asked_again(peer: Peer) -> None:
    """The answer to a question that only reads may be lost with the connection: the next one is asked."""
    first = peer.up()
    outcome = watch(peer.rpc.call(commands.GetMap, 5))
    peer.down(first)
    assert outcome == []
    second = peer.up()
    assert second.asked == first.asked
    second.answers[0].callback({"state": b"{}"})
    assert outcome == [{"state": b"{}"}]


def test_a_question_that_changes_is_never_repeated(peer: Peer) -> None:
    """A change whose answer was lost with the connection is `OutcomeUnknown`, and isn't asked on the next one."""
    first = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    peer.down(first)
    assert "CreateIndex was sent to the peer" in failure_in(outcome, OutcomeUnknown)
    assert peer.up().asked == []


def test_a_change_that_was_never_sent_goes_out_later(peer: Peer) -> None:
    """A change that waits for a connection is asked once there is one."""
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    peer.down()
    connection = peer.up()
    assert len(connection.asked) == 1
    connection.answers[0].callback({"epoch": 2})
    assert outcome == [{"epoch": 2}]


def test_a_peer_that_shuts_down_has_changed_nothing(peer: Peer) -> None:
    """After `ShuttingDown` a question goes out on the next connection, even one that changes something."""
    first = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    first.answers[0].errback(Failure(ShuttingDown("bye")))
    assert outcome == []
    peer.down(first)
    second = peer.up()
    assert len(second.asked) == 1
    second.answers[0].callback({"epoch": 2})
    assert outcome == [{"epoch": 2}]


def test_a_change_refused_for_shutdown_and_never_sent_again_changed_nothing(peer: Peer) -> None:
    """When no connection comes after `ShuttingDown`, the deadline gives `Unavailable`, with the peer's reason."""
    first = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    first.answers[0].errback(Failure(ShuttingDown("bye for now")))
    peer.clock.advance(5)
    assert "bye for now" in failure_in(outcome, Unavailable)


@pytest.mark.parametrize(("changes", "kind"), [(False, Unavailable), (True, OutcomeUnknown)])
def test_the_deadline_is_exact(peer: Peer, changes: bool, kind: type[BaseException]) -> None:
    """A question that is out ends at its deadline: nothing changed when it only reads, unknown when it may have."""
    peer.up()
    outcome = watch(peer.rpc.call(commands.DropIndex, 2.5, changes, name="pages"))
    peer.clock.advance(2.499)
    assert outcome == []
    peer.clock.advance(0.001)
    assert "within 2.5 s" in failure_in(outcome, kind)
    assert not peer.rpc.pending


@pytest.mark.parametrize("changes", [False, True])
def test_what_was_never_sent_changed_nothing(peer: Peer, changes: bool) -> None:
    """At its deadline a question that no connection was there for is `Unavailable`, with the reason."""
    outcome = watch(peer.rpc.call(commands.Ping, 1, changes))
    peer.down()
    peer.clock.advance(1)
    assert failure_in(outcome, Unavailable) == "the peer gave no answer within 1 s: the wire broke"
    assert peer.up().asked == []


def test_a_late_answer_is_ignored(peer: Peer) -> None:
    """An answer after the deadline reaches nobody, and does no harm."""
    connection = peer.up()
    outcome = watch(peer.rpc.call(commands.Ping, 1))
    peer.clock.advance(1)
    connection.answers[0].callback({})
    failure_in(outcome, Unavailable)


def test_the_peers_refusal_comes_back(peer: Peer) -> None:
    """What the peer raised is what the caller gets, at once."""
    connection = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    refusal = IndexExists("there is one")
    connection.answers[0].errback(Failure(refusal))
    assert outcome == [refusal]
    assert peer.clock.getDelayedCalls() == []


def test_a_peer_of_the_wrong_kind_is_named(peer: Peer) -> None:
    """A peer that doesn't know the command gives `BadRequest`, even for a change: it did nothing."""
    connection = peer.up()
    outcome = watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="pages"))
    connection.answers[0].errback(Failure(UnknownCommand("")))
    assert failure_in(outcome, BadRequest) == "the peer can't answer CreateIndex; is it the right kind of daemon?"


def test_close_ends_everything(peer: Peer) -> None:
    """Closing fails all that is open, sent or not, and leaves no timer."""
    connection = peer.up()
    sent = watch(peer.rpc.call(commands.Ping, 5))
    peer.down(connection)
    waiting = watch(peer.rpc.call(commands.GetMap, 5))
    peer.rpc.close()
    failure_in(sent, ClientClosed)
    failure_in(waiting, ClientClosed)
    assert peer.clock.getDelayedCalls() == []


# ---------------------------------------------------------------------- a connection that is silent


def test_a_silent_connection_is_dropped() -> None:
    """A connection that owed answers for its patience and gave none is dropped: its peer may be gone."""
    peer = Peer(patience=5)
    peer.up()
    for dropped in (0, 1):
        outcome = watch(peer.rpc.call(commands.GetMap, 2.5))
        peer.clock.advance(2.5)
        failure_in(outcome, Unavailable)
        assert peer.dropped == dropped


def test_a_slow_peer_is_not_dropped() -> None:
    """An answer, even to another question, shows that the peer is there: its patience begins anew."""
    peer = Peer(patience=5)
    connection = peer.up()
    slow = watch(peer.rpc.call(commands.CreateIndex, 6, changes=True, name="pages"))
    watch(peer.rpc.call(commands.GetMap, 6))
    peer.clock.advance(4)
    connection.answers[1].callback({"state": b""})
    peer.clock.advance(2)
    failure_in(slow, OutcomeUnknown)
    assert peer.dropped == 0


def test_patience_begins_with_the_question() -> None:
    """An idle connection owes nothing, however long; nor does a new one owe what the old one did."""
    peer = Peer(patience=5)
    connection = peer.up()
    watch(peer.rpc.call(commands.Ping, 60))
    connection.answers[0].callback({})
    peer.clock.advance(100)
    watch(peer.rpc.call(commands.Ping, 1))
    peer.clock.advance(1)
    assert peer.dropped == 0
    peer.down(connection)
    peer.clock.advance(100)
    peer.up()
    watch(peer.rpc.call(commands.Ping, 1))
    peer.clock.advance(1)
    assert peer.dropped == 0


def test_questions_do_not_pass_each_other(peer: Peer) -> None:
    """What waited because the connection was in doubt goes out before what is asked when it no longer is."""
    connection = peer.up()
    peer.doubtful = True
    watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="first"))
    assert connection.asked == []
    peer.doubtful = False
    watch(peer.rpc.call(commands.CreateIndex, 5, changes=True, name="second"))
    assert [arguments["name"] for _, arguments in connection.asked] == ["first", "second"]
    peer.rpc.connected(cast("DialedConnection", connection))
    assert len(connection.asked) == 2
