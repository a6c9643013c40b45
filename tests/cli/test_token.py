"""`pyshard token`, and the option that names a client's token file."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from in_process_command import Commands
from ports import free_port
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.cli.up.cluster_choice import DEFAULT, with_free_ports
from pyshard.cli.up.daemon_commands import Access, daemons
from pyshard.cli.up.ready_message import usage
from pyshard.client import connect
from pyshard.errors import ConfigError
from pyshard.model.config_text import config_text
from pyshard.model.shard_map import ShardMap
from pyshard.security.tls import Tls
from pyshard.security.tokens_and_roles import Role, parse


@pytest.mark.parametrize("role", Role, ids=lambda role: role.word)
def test_token(pyshard: Commands, role: Role) -> None:
    """It prints a line for a token file, another one each time, with 256 bits of randomness."""
    lines = {pyshard("token", "--role", role.word).out for _ in range(3)}
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(role.word + r" [\w-]{43}\n", line)
        assert [token.role for token in parse(line).tokens] == [role]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["token"],
            "pyshard: Missing option '--role'. Choose from: read, backup, write, admin; see 'pyshard token --help'\n",
        ),
        (
            ["token", "--role", "root"],
            "pyshard: Invalid value for '--role': 'root' is not one of 'read', 'backup', 'write', 'admin'; see "
            "'pyshard token --help'\n",
        ),
        (
            ["--token-file", "x", "token", "--role", "read"],
            "pyshard: --token-file means nothing to 'token'; see 'pyshard token --help'\n",
        ),
    ],
)
def test_refused(pyshard: Commands, arguments: list[str], line: str) -> None:
    """A missing or unknown role, or an option that means nothing here, is refused in one line."""
    ended = pyshard(*arguments)
    assert (ended.code, ended.out, ended.error) == (2, "", line)


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["has", "a"], None),
        (["--token-file", "outer", "has", "a"], "outer"),
        (["has", "--token-file", "inner", "a"], "inner"),
        (["--token-file", "outer", "has", "--token-file", "inner", "a"], "inner"),
    ],
)
def test_option(pyshard: Commands, arguments: list[str], file: str | None) -> None:
    """``--token-file`` stands before the subcommand or behind it; behind it wins."""
    pyshard(*arguments)
    assert [target.token_file for target in pyshard.targets] == [file]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """A client's file that can't be used is refused before anything is dialed."""
    failures: list[Failure] = []
    connect(Clock(), "127.0.0.1:1", token_file=tmp_path / "none").addErrback(failures.append)
    assert [failure.type for failure in failures] == [ConfigError]
    assert "no such file" in str(failures[0].value)


def test_up_tells_its_daemons(tmp_path: Path) -> None:
    """Each daemon of `up` is told the token file and the files of TLS, by their names."""
    file = tmp_path / "tokens"
    for access, options in {
        Access(): [],
        Access(file): [f"--token-file={file}"],
        Access(insecure=True): ["--insecure"],
        Access(tls=Tls("/ca.pem", "/own.pem")): ["--tls-ca=/ca.pem", "--tls-certificate=/own.pem"],
    }.items():
        for daemon in daemons(DEFAULT, "twistd", tmp_path / "shards.json", tmp_path, access=access):
            assert [word for word in daemon.command if word.startswith(("--token", "--insecure", "--tls"))] == options


def test_up_tells_how_to_use_it(tmp_path: Path) -> None:
    """With a token file, the commands that `up` prints name it."""
    text = str(usage(DEFAULT, Path("my tokens")))
    assert "pyshard write --token-file 'my tokens' KEY DOC" in text
    assert "app = Pyshard(token_file='my tokens')" in text


def test_up_where_others_can_connect(pyshard: Commands, tmp_path: Path) -> None:
    """A cluster that others could reach needs a token file, or the user's word; nothing is started without."""
    file = tmp_path / "shards.json"
    ranges = [attrs.evolve(shard, host="0.0.0.0", port=free_port()) for shard in DEFAULT.map.shards]
    cluster, _ = with_free_ports(attrs.evolve(DEFAULT, map=ShardMap(ranges), bootstrap_port=free_port()))
    file.write_bytes(config_text(cluster))
    port = cluster.map.shards[0].port
    ended = pyshard("up", "--config", str(file), "--run-dir", str(tmp_path / "run"))
    assert ended.code == 2
    assert re.fullmatch(
        rf"pyshard: shard 'shard0-0.5': found 'tcp:port={port}:interface=0.0.0.0', on which others than this machine "
        r"could connect, and no token file; expected --token-file FILE .*\n",
        ended.error,
    )
    assert not (tmp_path / "run").exists()
