"""Tokens as clients see them: those of each role, wrong ones, exchanged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from authentication.secured import BOOTSTRAP, SECRETS, TOKENS, WRONG, Bench, factory
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.backup import backup
from pyshard.client import connect
from pyshard.errors import NotAuthenticated, PermissionDenied, Unavailable
from pyshard.net.authenticating_endpoint import authenticated_dial
from pyshard.security.token_file import VARIABLE
from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


def test_clients_of_every_role(bench: Bench, tmp_path: Path) -> None:
    """A reader reads, a keeper takes backups, a writer writes, an admin drops; more is `PermissionDenied` at once."""
    cluster = bench.cluster
    reader, keeper, writer, admin = [cluster.connect(secret=SECRETS[role]) for role in Role]
    assert cluster.run(writer.write("a", 1)) == 28
    assert cluster.run(reader.item("a"))["record"] == 1  # type: ignore[index]  # it is there
    began = cluster.clock.seconds()
    refused: list[Callable[[], Deferred[Any]]] = [
        lambda: reader.write("a", 2),
        lambda: reader.pop("a"),
        lambda: keeper.write("a", 2),
        lambda: keeper.create_index("new"),
        lambda: backup(reader, tmp_path / "refused"),
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
    assert cluster.run(backup(keeper, tmp_path / "backup")).documents == 2
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
    what = "the token is none that this daemon knows" if secret else "this daemon wants a token first (Authenticate)"
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
    for one in cluster.map.shards:
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
    shards = [factory(cluster, (one.host, one.port)) for one in cluster.map.shards]
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
