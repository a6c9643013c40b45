"""Addresses of states: files, and places in etcd."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyshard.bootstrap.state_stores.state_address import EtcdAddress, state_address
from pyshard.errors import ConfigError


def test_places_in_etcd() -> None:
    """Members, and a prefix of one name or several; messages show the address as it was given."""
    text = "etcd://h1:2379,10.0.0.2:2380,[::1]:2379/pyshard/one"
    address = state_address(text)
    assert address == EtcdAddress((("h1", 2379), ("10.0.0.2", 2380), ("::1", 2379)), "pyshard/one")
    assert address.key == b"/pyshard/one/state"
    assert str(address) == text


def test_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path, as it is or behind file:, made absolute, since twistd changes its directory."""
    monkeypatch.chdir(tmp_path)
    assert state_address("shards.state") == state_address("file:shards.state") == tmp_path / "shards.state"
    assert state_address("/a/b") == state_address("file:/a/b") == Path("/a/b")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("etcd://h1:2379", "found the prefix ''"),
        ("etcd://h1:2379/", "found the prefix ''"),
        ("etcd://h1:2379//a", "found the prefix '/a'"),
        ("etcd://h1:2379/a b", "found the prefix 'a b'"),
        ("etcd://h1:2379/" + "a" * 201, "found the prefix"),
        ("etcd://h1/a", "found the member 'h1'"),
        ("etcd://h1:0/a", "found the member 'h1:0'"),
        ("etcd://h1:70000/a", "found the member 'h1:70000'"),
        ("etcd://h1:1,,h2:1/a", "found the member ''"),
        ("etcd://h1:1,h1:1/a", "found 2 members"),
        ("etcd://user:secret@h1:1/a", "found a user in the address"),
        ("", "expected a file's path"),
        ("file:", "expected a file's path"),
        ("https://h1:2379/a", "expected a file's path"),
    ],
)
def test_what_is_none(text: str, found: str) -> None:
    """It says what was found and what is expected, and shows no password."""
    with pytest.raises(ConfigError) as refused:
        state_address(text)
    message = str(refused.value)
    assert message.startswith("--state: ")
    assert found in message
    assert "etcd://HOST:PORT,HOST:PORT/PREFIX" in message or "members" in message
    assert "secret" not in message
