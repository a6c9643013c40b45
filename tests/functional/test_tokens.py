"""A cluster with a token file: who may use it, how tokens are exchanged, and that no secret is logged."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import attrs
import pytest
from blocks import tagged
from functional.cluster import TWISTD, Cluster, NewCluster, run
from ports import free_port
from twisted.internet.interfaces import IReactorTime

from pyshard import Pyshard, connect
from pyshard.errors import NotAuthenticated, PermissionDenied
from pyshard.security.token_file import load
from pyshard.security.tokens_and_roles import Role

pytestmark = pytest.mark.functional

_HOW = "give the client a token file: token_file=…, --token-file or the environment variable PYSHARD_TOKEN_FILE"


@attrs.define
class Guarded:
    """A cluster with a token file, a client's file for each role, and all secrets that there are.

    :ivar lines: the lines of the daemons' file.
    """

    cluster: Cluster
    daemons_file: Path
    files: dict[Role, Path]
    lines: list[str]
    secrets: list[str]

    def new(self, role: Role) -> str:
        """A new token's line."""
        self.secrets.append(secrets.token_urlsafe(32))
        return f"{role.word} {self.secrets[-1]}"

    def command(self, *arguments: str, token_file: Path | None = None, text: str = "") -> CompletedProcess[str]:
        """Run ``pyshard``; the environment says which cluster, and which token file."""
        environment = {**self.cluster.environment, "PYSHARD_BOOTSTRAP": self.cluster.server}
        if token_file is not None:
            environment["PYSHARD_TOKEN_FILE"] = str(token_file)
        code = "import sys; sys.argv[0] = 'pyshard'; from pyshard.cli import cli; cli()"
        return run(self.cluster.folder, environment, sys.executable, "-c", code, *arguments, text=text)


def put(path: Path, *lines: str) -> Path:
    """Put a token file in place of what there was, in one go."""
    new = path.with_name(f"{path.name}.new")
    new.touch(0o600)
    new.write_text("".join(f"{line}\n" for line in lines))
    new.replace(path)
    return path


@pytest.fixture
def guarded(new_cluster: NewCluster, tmp_path: Path) -> Iterator[Guarded]:
    """A cluster with a token of each role, ready; at its end no log has shown any secret."""
    daemons_file = tmp_path / "tokens"
    made = Guarded(new_cluster(token_file=daemons_file), daemons_file, {}, [], [])
    made.lines += [made.new(role) for role in reversed(Role)]
    put(daemons_file, *made.lines)
    for role in Role:
        made.files[role] = put(tmp_path / role.word, next(line for line in made.lines if line.startswith(role.word)))
    made.cluster.start()
    yield made
    for daemon in made.cluster.daemons:
        text = daemon.log()
        assert "opened" in text
        assert [secret for secret in made.secrets if secret in text] == []


def test_roles(guarded: Guarded) -> None:
    """Through the blocking client: a reader reads, a writer writes, an admin drops; the rest is refused at once."""
    server = guarded.cluster.server
    with (
        Pyshard(server, token_file=guarded.files[Role.READ]) as reader,
        Pyshard(server, token_file=str(guarded.files[Role.WRITE])) as writer,
        Pyshard(server, token_file=guarded.daemons_file) as admin,
    ):
        writer.create_index("pages")
        assert writer.write_many([(f"key{number}", number) for number in range(100)], "pages") == [24] + [28] * 99
        assert reader.read("key7", "pages") == writer.read("key7", "pages")
        assert len(list(reader.keys("pages"))) == 100
        assert [one["state"] for one in reader.readiness()] == ["ready", "ready"]
        for call in (
            lambda: reader.write("key7", 8, "pages"),
            lambda: reader.pop("key7", "pages"),
            lambda: reader.create_index("more"),
            lambda: writer.drop_index("pages"),
        ):
            with pytest.raises(PermissionDenied):
                call()
        admin.drop_index("pages")
        assert reader.indexes() == []
    secrets_shown = [secret for secret in guarded.secrets if secret in repr((vars(reader), vars(admin)))]
    assert secrets_shown == []


@pytest.mark.long
def test_who_does_not_get_in(guarded: Guarded, tmp_path: Path) -> None:
    """Without a token, or with a wrong one, the command ends at once with one line and exit code 5."""
    wrong = put(tmp_path / "wrong", guarded.new(Role.ADMIN))
    missing = guarded.command("read", "a")
    assert (missing.returncode, missing.stdout) == (5, "")
    assert missing.stderr == (
        f"pyshard: the bootstrap at {guarded.cluster.server}: this daemon wants a token first (Authenticate); {_HOW}\n"
    )
    refused = guarded.command("read", "a", token_file=wrong)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert refused.stderr == (
        f"pyshard: the bootstrap at {guarded.cluster.server}: the token is none that this daemon knows; {_HOW}\n"
    )
    with pytest.raises(NotAuthenticated):
        Pyshard(guarded.cluster.server)
    wrong.chmod(0o644)
    readable = guarded.command("read", "a", token_file=wrong)
    assert (readable.returncode, readable.stdout) == (2, "")
    assert readable.stderr.startswith(
        f"pyshard: token file {wrong}: found mode 0644, with which others than its owner can get at it; expected 0600: "
        f"chmod 600 {wrong}"
    )


def test_the_command(guarded: Guarded) -> None:
    """The command takes its token file from the option or from the environment, and makes tokens that work."""
    made = guarded.command("token", "--role", "read")
    guarded.secrets.append(made.stdout.split()[1])
    guarded.lines.append(made.stdout.rstrip("\n"))
    put(guarded.daemons_file, *guarded.lines)
    own = put(guarded.files[Role.READ], made.stdout.rstrip("\n"))
    wrote = guarded.command("write", "a", "1", "--token-file", str(guarded.files[Role.WRITE]))
    assert (wrote.returncode, wrote.stdout, wrote.stderr) == (0, "28\n", "")
    assert guarded.command("read", "a", token_file=own).stdout == "1\n"
    denied = guarded.command("pop", "a", token_file=own)
    assert (denied.returncode, denied.stdout) == (5, "")
    assert denied.stderr == "pyshard: this wants a token of role write; this client's has role read\n"


async def test_tokens_are_exchanged(guarded: Guarded) -> None:
    """The old token gives way to a new one while a client is at work, in three steps and with a restart of shards."""
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    cluster, own = guarded.cluster, guarded.files[Role.WRITE]
    keys = [cluster.keys(number, 1)[0] for number in range(2)]
    client = await connect(reactor, cluster.server, token_file=own)

    async def works() -> None:
        for key in keys:
            await client.increment(key)

    await works()
    old = next(line for line in guarded.lines if line.startswith("write"))
    new = guarded.new(Role.WRITE)
    put(guarded.daemons_file, *guarded.lines, new)
    await works()
    put(own, new)
    await works()
    put(guarded.daemons_file, *[line for line in guarded.lines if line != old], new)
    await works()
    for shard in cluster.shards:
        shard.kill()
    cluster.start()
    for key in keys:  # over new connections, with the new token; reads, since those that were lost aren't known yet
        assert not await client.has(key)
    await works()
    old_file = put(own.with_name("old"), old)
    with pytest.raises(NotAuthenticated):
        await connect(reactor, cluster.server, token_file=old_file)
    await client.close()


@pytest.mark.long
def test_every_daemon_again(guarded: Guarded) -> None:
    """Daemons that are killed and started again authenticate to each other, and clients to them."""
    with Pyshard(guarded.cluster.server, token_file=guarded.files[Role.WRITE]) as app:
        app.write("a", 1)
        for daemon in guarded.cluster.daemons:
            daemon.kill()
        guarded.cluster.start()
        app.write("a", 2, deadline=30)


def test_security_page(environment: Mapping[str, str], tmp_path: Path) -> None:
    """The commands of SECURITY.md make token files that a cluster and a client can use."""
    (block,) = tagged("SECURITY.md", "run: tokens")
    shell = f'pyshard() {{ "{sys.executable}" -m pyshard.cli "$@"; }}\nset -e\n{block}'
    done = run(tmp_path, environment, "bash", "-c", shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [token.role for token in load(tmp_path / "tokens").tokens] == sorted(Role, reverse=True)
    assert load(tmp_path / "crawler.tokens").tokens == load(tmp_path / "tokens").tokens[1:2]


@pytest.mark.parametrize("listen", ["tcp:{}", "tcp:{}:interface=0.0.0.0"])
def test_open_to_others(environment: Mapping[str, str], tmp_path: Path, listen: str) -> None:
    """Without a token file a daemon refuses in one line to listen where others can connect."""
    where = listen.format(free_port())
    refused = run(tmp_path, environment, TWISTD, "-n", "--pidfile=", "pyshard-shard", "--listen", where)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"pyshard: found '{where}', on which others than this machine could connect, and no token file; expected "
        "--token-file FILE ('pyshard token' makes tokens), --tls-ca FILE (the documentation, \"TLS\"), an address of "
        "this machine alone such as 127.0.0.1, or --insecure\n"
    )
