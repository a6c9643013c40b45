"""Who may ask what: every command × every role on both daemons, and what a daemon grants to strangers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import attrs
import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.protocols import amp
from twisted.python.failure import Failure

from pyshard import cluster as cluster_state
from pyshard import commands
from pyshard.auth import Role, Token, Tokens
from pyshard.batch import (
    Has,
    Increment,
    Item,
    Pop,
    Read,
    Remove,
    Run,
    Touch,
    Write,
    changes,
    decode_answers,
    encode_runs,
)
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.client import connect
from pyshard.credential import authenticated_dial
from pyshard.errors import NotAuthenticated, PermissionDenied, PyshardError, Unavailable
from pyshard.server.connection import STRANGER, ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster
from pyshard.tokenfile import VARIABLE
from pyshard.wire.command import Command
from pyshard.wire.connection import BoundedAMP

SECRETS = {role: f"the-secret-of-{role.word}-tokens".encode() for role in Role}
TOKENS = Tokens(tuple(Token(role, secret) for role, secret in SECRETS.items()))
WRONG = b"nobody's-secret-at-all"

SHARD = ("127.0.0.1", 5050)
BOOTSTRAP = ("localhost", 9192)
DAEMONS: dict[tuple[str, int], type[ServerConnection]] = {SHARD: ShardProtocol, BOOTSTRAP: BootstrapProtocol}

RECORD = b"\1\0\0\0\x1c\x01"

#: One run of each verb.
RUNS: list[Run] = [
    Read("", [b"test"]),
    Has("", [b"test"]),
    Item("", [b"test"]),
    Write("", [b"test"], [RECORD]),
    Touch("", [b"test"], [1000]),
    Increment("", [b"test"], [RECORD], [RECORD]),
    Remove("", [b"test"]),
    Pop("", [b"test"]),
]

#: What each role may do, command by command: the least that it takes. None: even strangers may.
NEEDED: dict[type[Command], Role | None] = {
    commands.Authenticate: None,
    commands.Ping: None,
    commands.Hello: Role.READ,
    commands.GetMap: Role.READ,
    commands.Apply: Role.READ,  # what changes something in it: see below
    commands.Keys: Role.READ,
    commands.Stat: Role.READ,
    commands.OpenSnapshot: Role.READ,
    commands.ReadSnapshot: Role.READ,
    commands.CloseSnapshot: Role.READ,
    commands.Readiness: Role.READ,
    commands.CreateIndex: Role.WRITE,
    commands.DropIndex: Role.ADMIN,
    commands.Configure: Role.ADMIN,
}


@attrs.define
class Bench:
    """A cluster with a token of each role, and peers of its daemons."""

    cluster: MemoryCluster

    def peer(self, where: tuple[str, int], secret: bytes | None = None) -> BoundedAMP:
        """A peer of a daemon, which has authenticated if there is a secret."""
        factory = Factory.forProtocol(lambda: BoundedAMP(self.cluster.clock))
        peer = self.cluster.run(self.cluster.network.dial(*where).connect(factory))
        assert isinstance(peer, BoundedAMP)
        if secret is not None:
            self.ask(peer, commands.Authenticate, token=secret)
        return peer

    def asked(self, peer: BoundedAMP, command: type[amp.Command], **arguments: object) -> Deferred[dict[str, Any]]:
        """A question that has arrived."""
        asked = peer.call(command, 1000, **arguments)
        self.cluster.network.settle()
        return asked

    def ask(self, peer: BoundedAMP, command: type[amp.Command], **arguments: object) -> dict[str, Any]:
        """The answer to a command; raises what it fails with."""
        return self.cluster.run(peer.call(command, 10, **arguments))

    def arguments(self, command: type[Command]) -> dict[str, object]:
        """Arguments that a daemon can take."""
        given: dict[type[Command], dict[str, object]] = {
            commands.Authenticate: {"token": SECRETS[Role.READ]},
            commands.Hello: {"protocol": commands.PROTOCOL},
            commands.Configure: {"name": "shard0", "state": cluster_state.to_json(self.cluster.state)},
            commands.Apply: {"epoch": 0, "batch": encode_runs(RUNS)},
            commands.Keys: {"epoch": 0, "index": "", "slot": 0, "after": None},
            commands.ReadSnapshot: {"snapshot": "s1"},
            commands.CloseSnapshot: {"snapshot": "s1"},
            commands.CreateIndex: {"name": "new"},
            commands.DropIndex: {"name": "pages"},
        }
        return given.get(command, {})

    def outcome(self, peer: BoundedAMP, command: type[Command]) -> dict[str, Any] | Exception:
        """What becomes of a command."""
        try:
            return self.ask(peer, command, **self.arguments(command))
        except (PyshardError, amp.UnhandledCommand, ConnectionLost, ConnectionDone) as error:
            return error

    def snapshot(self) -> object:
        """All that a command could change."""
        shards = [one.shard for one in self.cluster.services.values()]
        held = [(shard.store.documents, shard.store.used, shard.assignment) for shard in shards]
        return held, self.cluster.state


@pytest.fixture
def bench() -> Any:
    """A cluster with an index and a document."""
    with MemoryCluster(tokens=TOKENS) as cluster:
        admin = cluster.connect(secret=SECRETS[Role.ADMIN])
        cluster.run(admin.create_index("pages"))
        cluster.run(admin.write("test", 7))
        yield Bench(cluster)


def factory(cluster: MemoryCluster, where: tuple[str, int]) -> ServerFactory:
    """What listens on an address."""
    found = cluster.network.listeners[where]
    assert isinstance(found, ServerFactory)
    return found


def answered(where: tuple[str, int], bench: Bench) -> list[type[Command]]:
    """The commands that a daemon has responders for."""
    connection = factory(bench.cluster, where).connections[0]
    assert type(connection) is DAEMONS[where]
    names = [*connection._responders, *connection._direct]
    return [commands.COMMANDS[name] for name in names]


# -- every command × every role -------------------------------------------------------------------------------------


def test_every_command_has_a_role() -> None:
    """Which role a command takes is said with it, and is what this file expects; none is forgotten."""
    assert {command: command.role for command in commands.COMMANDS.values()} == NEEDED


def test_every_command_is_answered_somewhere(bench: Bench) -> None:
    """The tests below try each command on a daemon that answers it."""
    assert {one for where in DAEMONS for one in answered(where, bench)} == set(NEEDED)


@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role.word if role else "stranger")
@pytest.mark.parametrize("command", NEEDED, ids=lambda command: command.__name__)
@pytest.mark.parametrize("where", DAEMONS, ids=["shard", "bootstrap"])
def test_command_and_role(bench: Bench, where: tuple[str, int], command: type[Command], role: Role | None) -> None:
    """A command is answered to those of its role and above, and refused, without any effect, to all others."""
    peer = bench.peer(where, SECRETS[role] if role else None)
    needed, before = NEEDED[command], bench.snapshot()
    outcome = bench.outcome(peer, command)
    if command not in answered(where, bench):
        assert isinstance(outcome, amp.UnhandledCommand)
    elif role is None and needed is not None:
        assert isinstance(outcome, NotAuthenticated)
    elif role is not None and needed is not None and role < needed:
        assert isinstance(outcome, PermissionDenied)
        assert str(outcome) == (
            f"{command.commandName.decode()} wants a token of role {needed.word}; this client's has role {role.word}"
        )
    else:
        assert not isinstance(outcome, NotAuthenticated | PermissionDenied | amp.UnhandledCommand)
    if role is None or role is Role.READ:
        assert bench.snapshot() == before
    assert bench.ask(peer, commands.Ping) == {}  # the connection lives on


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__struct_config__.tag)
@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
def test_verb_and_role(bench: Bench, run: Run, role: Role) -> None:
    """A reader reads; what changes something is refused to him, whatever verb it is, and changes nothing."""
    peer, before = bench.peer(SHARD, SECRETS[role]), bench.snapshot()
    answer = bench.ask(peer, commands.Apply, epoch=0, batch=encode_runs([run]))
    (outcome,) = decode_answers(answer["answers"], [run])[0].outcomes()
    if role is Role.READ and run.__struct_config__.tag not in ("read", "has", "item"):
        assert isinstance(outcome, PermissionDenied)
        assert bench.snapshot() == before
    else:
        assert not isinstance(outcome, PyshardError)
        assert outcome is not None


def test_every_verb_is_tried() -> None:
    """`RUNS` has each verb that there is, and those that may change something are known as such."""
    assert [type(run) for run in RUNS if not changes(run)] == [Read, Has, Item]
    assert {type(run) for run in RUNS} == set(get_args(Run))


def test_a_readers_batch(bench: Bench) -> None:
    """In one batch a reader's reads are answered, each at its place, and the rest is refused by itself."""
    runs: list[Run] = [RUNS[3], Has("", [b"test", b"absent"]), Remove("", [b"a", b"b"]), Has("", [b"absent"])]
    before = bench.snapshot()
    peer = bench.peer(SHARD, SECRETS[Role.READ])
    answer = bench.ask(peer, commands.Apply, epoch=0, batch=encode_runs(runs))
    answers = decode_answers(answer["answers"], runs)
    assert [one.results for one in answers] == [[None], [True, False], [None, None], [False]]
    assert [sorted(one.errors) for one in answers] == [[0], [], [0, 1], []]
    assert answers[2].errors[1] == (
        "PERMISSION_DENIED",
        "this wants a token of role write; this client's has role read",
    )
    assert bench.snapshot() == before


def test_a_command_that_nobody_knows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that isn't on the protocol's page is answered to an admin only, whatever daemon has it."""
    monkeypatch.delitem(commands.COMMANDS, b"Stat")
    for role, refused in {Role.READ: True, Role.WRITE: True, Role.ADMIN: False}.items():
        outcome = bench.outcome(bench.peer(SHARD, SECRETS[role]), commands.Stat)
        assert isinstance(outcome, PermissionDenied) is refused


# -- strangers ------------------------------------------------------------------------------------------------------


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
    assert bench.ask(peer, commands.Hello, protocol=1)["role"] == "shard"


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


# -- clients --------------------------------------------------------------------------------------------------------


def test_clients_of_every_role(bench: Bench) -> None:
    """A reader reads, a writer writes, an admin drops; what goes beyond is `PermissionDenied` at once."""
    cluster = bench.cluster
    reader, writer, admin = [cluster.connect(secret=SECRETS[role]) for role in Role]
    assert cluster.run(writer.write("a", 1)) == 28
    assert cluster.run(reader.item("a"))["record"] == 1  # type: ignore[index]  # it is there
    began = cluster.clock.seconds()
    refused: list[Callable[[], Deferred[Any]]] = [
        lambda: reader.write("a", 2),
        lambda: reader.pop("a"),
        lambda: reader.increment("a"),
        lambda: reader.create_index("new"),
        lambda: reader.drop_index("pages"),
        lambda: writer.drop_index("pages"),
    ]
    for call in refused:
        with pytest.raises(PermissionDenied):
            cluster.run(call())
    assert cluster.clock.seconds() - began < 0.1
    assert cluster.run(reader.has("a"))
    cluster.run(writer.create_index("new"))
    cluster.run(admin.drop_index("new"))
    assert cluster.run(reader.indexes()) == ["pages"]


def test_a_reader_who_also_writes(bench: Bench) -> None:
    """Of operations issued in one turn, which travel in one box, a reader's reads are answered."""
    reader = bench.cluster.connect(secret=SECRETS[Role.READ])
    write, read = reader.write("test", 8), reader.read("test")
    assert isinstance(outcome_within(bench, write), PermissionDenied)
    found = outcome_within(bench, read)
    assert isinstance(found, dict)
    assert found["record"] == 7


def outcome_within(bench: Bench, work: Deferred[Any]) -> object:
    """What an operation comes to, or what it fails with."""
    outcome: object = bench.cluster.run(work.addErrback(lambda failure: failure.value))
    return outcome


@pytest.mark.parametrize("secret", [None, WRONG])
def test_who_may_not_connect(bench: Bench, secret: bytes | None) -> None:
    """Without a token, or with a wrong one, connecting fails at once, and says what to do."""
    cluster = bench.cluster
    began = cluster.clock.seconds()
    with pytest.raises(NotAuthenticated) as refused:
        cluster.connect(secret=secret)
    what = "the token is none that this daemon knows" if secret else "this daemon wants a token first"
    assert str(refused.value) == (
        f"the bootstrap at localhost:9192: {what}; give the client a token file: token_file=…, --token-file or the "
        "environment variable PYSHARD_TOKEN_FILE"
    )
    assert cluster.clock.seconds() - began < 0.1
    cluster.network.settle()
    assert [one.role for one in factory(cluster, BOOTSTRAP).connections] == [Role.ADMIN]  # the fixture's client
    before = cluster.random.getstate()
    cluster.advance(30)  # nothing dials again
    assert cluster.random.getstate() == before


def test_a_cluster_in_memory_heeds_no_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test's client presents is said in the test alone."""
    monkeypatch.setenv(VARIABLE, "/nowhere")
    reader = bench.cluster.connect(secret=SECRETS[Role.READ])
    assert bench.cluster.run(reader.has("test"))


def test_an_open_cluster_takes_any_token() -> None:
    """Where there are no tokens a client with one gets in, so that clients can be given theirs first."""
    with MemoryCluster() as cluster:
        client = cluster.connect(secret=WRONG)
        cluster.run(client.write("test", 1))
        cluster.run(client.create_index("pages"))
        cluster.run(client.drop_index("pages"))


def test_a_token_is_exchanged(bench: Bench) -> None:
    """Add the new token to the daemons, give it to the clients, take the old one away: nobody is refused meanwhile."""
    cluster, new = bench.cluster, b"the-new-secret-of-writers"
    secret = SECRETS[Role.WRITE]
    client = cluster.connect(secret=lambda: secret)
    cluster.run(client.write("a", 1))
    cluster.tokens = Tokens((*TOKENS.tokens, Token(Role.WRITE, new)))
    secret = new
    cut(cluster)
    cluster.run(client.write("a", 2))
    cluster.tokens = Tokens(tuple(one for one in cluster.tokens.tokens if one.secret != SECRETS[Role.WRITE]))
    cut(cluster)
    cluster.run(client.write("a", 3))
    with pytest.raises(NotAuthenticated):
        cluster.connect(secret=SECRETS[Role.WRITE])


def cut(cluster: MemoryCluster) -> None:
    """Break every connection of the cluster; the bootstrap finds its shards again."""
    for one in cluster.map.ranges:
        cluster.network.cut(one.host, one.port)
    cluster.network.cut(*BOOTSTRAP)
    cluster.advance(2)


def test_a_token_that_was_taken_away(bench: Bench) -> None:
    """Connections live on; the next one is refused, at once and without a storm of attempts."""
    cluster = bench.cluster
    client = cluster.connect(secret=SECRETS[Role.WRITE])
    cluster.run(client.write("test", 1))
    cluster.tokens = Tokens(tuple(one for one in TOKENS.tokens if one.role is not Role.WRITE))
    cluster.run(client.write("test", 2))
    cut(cluster)
    began = cluster.clock.seconds()
    with pytest.raises(NotAuthenticated) as refused:
        cluster.run(client.write("test", 3))
    assert cluster.clock.seconds() - began < settings.RETRY_LONGEST
    assert str(refused.value).startswith("shard 'shard0' at 127.0.0.1:5050: the token is none that this daemon knows; ")
    with pytest.raises(NotAuthenticated):
        cluster.run(client.keys().next_page())
    assert cluster.clock.seconds() - began < 2 * settings.RETRY_LONGEST
    tries = 0
    while cluster.clock.seconds() - began < 60 and tries < 150:
        with pytest.raises(NotAuthenticated):
            cluster.run(client.read("test"))
        tries += 1
    assert tries < 150
    cluster.tokens = TOKENS
    cluster.advance(2)
    assert cluster.run(client.read("test"))["record"] == 2  # type: ignore[index]  # it is there


def test_a_bootstrap_with_another_token(bench: Bench) -> None:
    """Shards that don't know the bootstrap's token are reported with the reason, and found when they do."""
    cluster = bench.cluster
    admin = cluster.connect(secret=SECRETS[Role.ADMIN])
    cluster.stop_bootstrap()
    shards = [factory(cluster, (one.host, one.port)) for one in cluster.map.ranges]
    for one in shards:
        one.tokens = lambda: Tokens((Token(Role.ADMIN, b"x" * 16),))
    cluster.start_bootstrap()
    cluster.advance(3)
    found = cluster.run(admin.readiness())
    assert {each["state"] for each in found} == {"unreachable"}
    assert {each["detail"].partition(";")[0] for each in found} == {"the token is none that this daemon knows"}
    for one in shards:
        one.tokens = lambda: TOKENS
    cluster.advance(3)
    assert {each["state"] for each in cluster.run(admin.readiness())} == {"ready"}


def test_a_silent_daemon(bench: Bench) -> None:
    """A daemon that doesn't answer `Authenticate` is unavailable by the deadline; the attempt leaves nothing."""
    cluster = bench.cluster
    cluster.network.silence(*BOOTSTRAP)
    with pytest.raises(Unavailable):
        cluster.run(cluster_connect(cluster))
    cluster.network.unsilence(*BOOTSTRAP)
    cluster.network.cut(*BOOTSTRAP)
    cluster.network.settle()


def cluster_connect(cluster: MemoryCluster) -> Deferred[Any]:
    """A client that is connecting."""
    dial = authenticated_dial(cluster.network.dial, lambda: SECRETS[Role.READ])
    return connect(cluster.clock, list(BOOTSTRAP), dial=dial, deadline=12)


def test_no_secret_in_a_failure(bench: Bench) -> None:
    """Neither an error nor its traceback, nor what `stat` and the log tell, shows a secret."""
    cluster = bench.cluster
    with pytest.raises(NotAuthenticated) as refused:
        cluster.connect(secret=WRONG)
    failure = Failure(refused.value)
    shown = [failure.getTraceback(), repr(failure), repr(failure.value)]
    reader = cluster.connect(secret=SECRETS[Role.READ])
    shown.append(msgspec.json.encode(cluster.run(reader.stat())).decode())
    for secret in (WRONG, *SECRETS.values()):
        assert not [text for text in shown if secret.decode() in text]
