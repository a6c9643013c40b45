"""Peers that have presented no token, or a wrong one: what they are allowed, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from authentication.secured import DAEMONS, SECRETS, SHARD, WRONG, Bench, factory
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from pyshard.errors import NotAuthenticated
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.error_answers import UnknownCommand
from pyshard.security.tokens_and_roles import Role
from pyshard.server.stranger_limits import STRANGER
from pyshard.settings import settings


def closed(bench: Bench, peer: BoundedAMP) -> bool:
    """Whether a peer has lost its connection."""
    bench.cluster.network.settle()
    return peer.transport is None


@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_wrong_tokens(bench: Bench, where: tuple[str, int], log_lines: list[str]) -> None:
    """The third wrong token ends the connection, when it was answered; none is shown in an answer or in the log."""
    peer = bench.peer(where)
    for number in range(3):
        assert not closed(bench, peer)
        with pytest.raises(NotAuthenticated) as refused:
            bench.ask(peer, commands.Authenticate, token=b"%s%d" % (WRONG, number))
        assert str(refused.value) == (
            "the token is none that this daemon knows; give the client a token file: token_file=…, --token-file or the "
            "environment variable PYSHARD_TOKEN_FILE"
        )
    assert closed(bench, peer)
    assert len([line for line in log_lines if line.endswith("a wrong token")]) == 3
    assert not [line for line in log_lines if WRONG.decode() in line]


def test_many_tokens_at_once(bench: Bench, log_lines: list[str]) -> None:
    """Of tokens that come in one piece three are looked at and logged: the fourth is right, and refused."""
    peer = bench.peer(SHARD)
    asked = [peer.call(commands.Authenticate, 10, token=one) for one in [WRONG] * 3 + [SECRETS[Role.ADMIN]]]
    outcomes = [outcome_of(bench, one) for one in asked]
    assert [type(one) for one in outcomes] == [NotAuthenticated] * 4
    assert len([line for line in log_lines if line.endswith("a wrong token")]) == 3
    assert closed(bench, peer)


def outcome_of(bench: Bench, asked: Deferred[Any]) -> object:
    """What a question comes to, or what it fails with."""
    found: list[object] = []
    asked.addCallbacks(found.append, lambda failure: found.append(failure.value))
    bench.cluster.network.settle()
    assert found, "it hasn't fired"
    return found[0]


def test_one_wrong_token_is_forgiven(bench: Bench) -> None:
    """After a wrong token the right one is taken, and the connection stays."""
    peer = bench.peer(SHARD)
    with pytest.raises(NotAuthenticated):
        bench.ask(peer, commands.Authenticate, token=WRONG)
    assert bench.ask(peer, commands.Authenticate, token=SECRETS[Role.WRITE]) == {"role": "write"}
    bench.cluster.advance(60)
    assert bench.ask(peer, commands.Hello, protocol=2)["role"] == "shard"


@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_authenticating_again(bench: Bench, where: tuple[str, int]) -> None:
    """A second right token gives its own role, a lower one too; a wrong one changes nothing, the third one ends it."""
    peer = bench.peer(where, SECRETS[Role.ADMIN])
    connection = [*factory(bench.cluster, where).connections][-1]
    for role in (Role.READ, Role.WRITE, Role.ADMIN, Role.READ):
        assert bench.ask(peer, commands.Authenticate, token=SECRETS[role]) == {"role": role.word}
        assert connection.role is role
        if role is not Role.ADMIN:
            continue
        for _ in range(2):
            with pytest.raises(NotAuthenticated):
                bench.ask(peer, commands.Authenticate, token=WRONG)
        assert connection.role is role
    assert bench.ask(peer, commands.Hello, protocol=2)["protocol"] == 2
    with pytest.raises(NotAuthenticated):
        bench.ask(peer, commands.Authenticate, token=WRONG)
    assert closed(bench, peer)


def test_a_stranger_is_told_of_no_commands(bench: Bench) -> None:
    """A command that doesn't exist is refused to a stranger as any other; who has a role hears that there is none."""
    for secret, expected in {None: NotAuthenticated, SECRETS[Role.READ]: UnknownCommand}.items():
        peer = bench.peer(SHARD, secret)
        for name in (b"Foo", b"Readiness", b"GoAway", b""):
            with pytest.raises(expected):
                bench.cluster.run(peer.call_directly(name, {}))


@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_time_to_authenticate(bench: Bench, where: tuple[str, int], log_lines: list[str]) -> None:
    """A stranger has ten seconds, however busy it is; who has authenticated has as long as it likes."""
    peer, other = bench.peer(where), bench.peer(where, SECRETS[Role.READ])
    for _ in range(9):
        bench.cluster.advance(1)
        bench.ask(peer, commands.Ping)
    bench.cluster.advance(0.99)
    assert not closed(bench, peer)
    bench.cluster.advance(0.01)
    assert closed(bench, peer)
    assert "closed, the peer broke the protocol: no valid token within 10 s" in log_lines[-2]
    assert not closed(bench, other)


def test_a_lost_stranger_leaves_no_timer(bench: Bench) -> None:
    """The time to authenticate ends with the connection."""
    before = len(bench.cluster.clock.getDelayedCalls())
    peer = bench.peer(SHARD)
    assert len(bench.cluster.clock.getDelayedCalls()) == before + 1
    peer.abort()
    assert closed(bench, peer)
    assert len(bench.cluster.clock.getDelayedCalls()) == before


def ping_of(size: int, keys: int = 3) -> bytes:
    """The bytes of a Ping with so many bytes, and so many keys."""
    box = amp.AmpBox(_command=b"Ping", _ask=b"1")
    box.update({b"k%d" % number: b"" for number in range(keys - 3)})
    box[b"filler"] = b""
    box[b"filler"] = bytes(size - len(box.serialize()))
    found: bytes = box.serialize()
    return found


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        (ping_of(settings.STRANGER_BOX_BYTES - 1), True),
        (ping_of(settings.STRANGER_BOX_BYTES), True),
        (ping_of(settings.STRANGER_BOX_BYTES + 1), False),
        (ping_of(500, settings.STRANGER_BOX_KEYS), True),
        (ping_of(500, settings.STRANGER_BOX_KEYS + 1), False),
    ],
)
def test_a_strangers_box(bench: Bench, box: bytes, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's box has at most 8 keys and 1 KiB; one of an authenticated peer may be larger."""
    stranger, friend = bench.peer(SHARD), bench.peer(SHARD, SECRETS[Role.READ])
    answers: list[object] = []
    for peer in (stranger, friend):
        monkeypatch.setattr(peer, "_answer_received", answers.append)  # it asked nothing
        assert peer.transport is not None
        peer.transport.write(box)
    assert closed(bench, stranger) is not kept
    assert not closed(bench, friend)
    assert len(answers) == 1 + kept


def test_a_long_value_is_refused_when_it_is_announced(bench: Bench) -> None:
    """A stranger can't have a daemon wait for, and keep, a value that no box of its own could hold."""
    peer = bench.peer(SHARD)
    assert peer.transport is not None
    peer.transport.write(b"\0\5_long\xff\xff")
    assert closed(bench, peer)


def test_a_strangers_unfinished_box(bench: Bench) -> None:
    """A box that a stranger began must end within five seconds."""
    peer = bench.peer(SHARD)
    assert peer.transport is not None
    peer.transport.write(ping_of(100)[:-1])
    bench.cluster.advance(4.99)
    assert not closed(bench, peer)
    bench.cluster.advance(0.01)
    assert closed(bench, peer)
    assert STRANGER.unfinished == 5


@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_boxes_of_a_stranger(bench: Bench, where: tuple[str, int], log_lines: list[str]) -> None:
    """A stranger is answered twenty boxes; the next one ends its connection. A peer with a token has no such limit."""
    peer, friend = bench.peer(where), bench.peer(where, SECRETS[Role.READ])
    for _ in range(settings.STRANGER_BOXES):
        bench.ask(peer, commands.Ping)
        bench.ask(friend, commands.Ping)
    assert not closed(bench, peer)
    peer.callRemote(commands.Ping).addErrback(lambda _: None)
    bench.ask(friend, commands.Ping)
    assert closed(bench, peer)
    assert not closed(bench, friend)
    assert "closed, the peer broke the protocol: more than 20 boxes" in log_lines[-2]


def test_many_boxes_of_a_stranger_at_once(bench: Bench) -> None:
    """Of thousands in one piece twenty are answered."""
    peer = bench.peer(SHARD)
    answered: list[object] = []
    for _ in range(1000):
        peer.callRemote(commands.Ping).addCallbacks(answered.append, lambda _: None)
    assert closed(bench, peer)
    assert len(answered) == settings.STRANGER_BOXES


def test_boxes_before_the_token_are_not_held_against_a_peer(bench: Bench) -> None:
    """Who presents its token in the last box that it may send goes on like anybody else."""
    peer = bench.peer(SHARD)
    for _ in range(settings.STRANGER_BOXES - 1):
        bench.ask(peer, commands.Ping)
    assert bench.ask(peer, commands.Authenticate, token=SECRETS[Role.READ]) == {"role": "read"}
    for _ in range(50):
        bench.ask(peer, commands.Ping)
    assert not closed(bench, peer)
