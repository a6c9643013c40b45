"""The config file as a file: what can't be read, or is no file, is one line, too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from blocks import CHECKOUT
from config_files import MAP, file_with

from pyshard.errors import ConfigError
from pyshard.model.config_file import ClusterConfig, load


@pytest.mark.parametrize("convert", [str, Path])
def test_load(tmp_path: Path, convert: Any) -> None:
    """A file is read from a path, be it a str or a Path."""
    path = tmp_path / "shards.json"
    path.write_bytes(file_with())
    assert load(convert(path)) == ClusterConfig(MAP, "localhost", 9192)


def test_byte_order_mark(tmp_path: Path) -> None:
    """A file that begins with one, as some editors write it, says the same."""
    path = tmp_path / "shards.json"
    path.write_bytes(b"\xef\xbb\xbf" + file_with())
    assert load(path) == ClusterConfig(MAP, "localhost", 9192)


def test_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    """The message about a file's mistake begins with the file."""
    path = tmp_path / "shards.json"
    path.write_bytes(file_with(port=0))
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == f"{path}: shards[0].port: found 0, expected int >= 1"


def test_no_such_file(tmp_path: Path) -> None:
    """A file that isn't there is named, and why it can't be read."""
    path = tmp_path / "nothing.json"
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == (f"{path}: can't be read (No such file or directory); expected a config file in JSON")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe, whose writer may never come, and a device, which never ends, are refused at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert str(refused.value).startswith(f"{path}: can't be read (Found something else than a file)")


def test_a_file_without_end(tmp_path: Path) -> None:
    """Not more is read of a file than a config has."""
    path = tmp_path / "shards.json"
    with path.open("wb") as file:
        file.truncate(40 * 1024**3)
    with pytest.raises(ConfigError, match=r"can't be read \(Found more than 4,194,304 bytes\)"):
        load(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is no config file."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path)
    assert str(refused.value) == f"{tmp_path}: can't be read (Is a directory); expected a config file in JSON"


def test_example_file_loads() -> None:
    """etc/shards.json of the checkout is the original pyshard's example, with a size that stores something."""
    config = load(CHECKOUT / "etc" / "shards.json")
    found = [(shard.name, shard.ranges, shard.address) for shard in config.map.shards]
    assert found == [(shard.name, shard.ranges, shard.address) for shard in MAP.shards]
    assert (config.bootstrap_host, config.bootstrap_port) == ("localhost", 9192)
    assert all(shard.limit >= 1024 for shard in config.map.shards)
