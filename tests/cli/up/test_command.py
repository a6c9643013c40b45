"""What `up` refuses before it starts anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli.up.configured import HOST, cluster
from click.testing import CliRunner
from ports import free_port

from pyshard.cli import cli
from pyshard.cli.up import command
from pyshard.cli.up.directories import held_directory
from pyshard.model.config_text import config_text
from pyshard.storage import DataDirectory


def test_data_directory_in_use(tmp_path: Path) -> None:
    """Two runs can't share a data directory, and a file is none."""
    with held_directory(tmp_path, "--data-dir"):
        ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path)])
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr == f"pyshard: --data-dir: {tmp_path} is in use by another pyshard up\n"
    (tmp_path / "file").touch()
    ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path / "file")])
    assert (ended.exit_code, ended.stdout) == (2, "")
    file = tmp_path / "file"
    assert ended.stderr == (
        f"pyshard: --data-dir: {file}: found that {file} is no directory, expected one there; choose "
        "another directory\n"
    )


def test_data_directory_of_a_shard(tmp_path: Path) -> None:
    """The data directory of a single shard is refused as one of a cluster."""
    DataDirectory(tmp_path).close()
    before = sorted(path.name for path in tmp_path.iterdir())
    ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"pyshard: --data-dir: {tmp_path} is the data directory of one shard, expected one for a cluster\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_twistd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a twistd nothing is started."""
    monkeypatch.setattr(command, "find_twistd", lambda: None)
    ended = CliRunner().invoke(cli, ["up"])
    assert ended.exit_code == 1
    assert ended.stderr == f"pyshard: no twistd beside {sys.executable}, nor in PATH; install Twisted there\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "can't be read (No such file or directory)"),
        ("{", "found text that is not JSON"),
        ('{"shards": 3}', "shards: found 3, expected a JSON array"),
    ],
)
def test_bad_config(tmp_path: Path, text: str | None, error: str) -> None:
    """A config file that can't be used is one line, and exit code 2."""
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    ended = CliRunner().invoke(cli, ["up", "--config", str(path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"pyshard: {path}: {error}")
    assert ended.stderr.count("\n") == 1


def test_config_with_a_port_in_use(tmp_path: Path, taken: int) -> None:
    """A config file with a port in use is one line, and exit code 2."""
    path = tmp_path / "c.json"
    path.write_bytes(config_text(cluster(free_port(), bootstrap=taken)))
    ended = CliRunner().invoke(cli, ["up", "--config", str(path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"pyshard: {path}: the bootstrap: can't listen on {HOST}:{taken}")
    assert ended.stderr.count("\n") == 1
