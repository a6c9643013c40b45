"""Where a cluster's state is kept, as ``--state`` names it: ``etcd://h1:2379,h2:2379/prefix``, or a file. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

import attrs

from pyshard.errors import ConfigError, shown_value
from pyshard.model.address_text import host_and_port, split_host_and_port

ETCD = "etcd://"
FILE = "file:"

_PREFIX = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_LONGEST_PREFIX = 200
_MOST_MEMBERS = 20  # addresses: more than any etcd cluster has members


@attrs.frozen
class EtcdAddress:
    """A place in an etcd cluster.

    :param members: host and port of each member that may be asked.
    :param prefix: what the key begins with, so that several clusters can share an etcd cluster.
    """

    members: tuple[tuple[str, int], ...]
    prefix: str

    @property
    def key(self) -> bytes:
        """The key that has the state. There is no other one."""
        return f"/{self.prefix}/state".encode("ascii")

    def __str__(self) -> str:
        members = ",".join(host_and_port(host, port) for host, port in self.members)
        return f"{ETCD}{members}/{self.prefix}"


StateAddress: TypeAlias = EtcdAddress | Path


def state_address(text: str, what: str = "--state") -> StateAddress:
    """What an address means.

    :param what: what messages call it.
    :raises ConfigError: it is an address of etcd, and can't be used. The message doesn't have it: it may be one with a
        password.
    """
    if text.startswith(ETCD):
        return _etcd_address(text.removeprefix(ETCD), what)
    path = text.removeprefix(FILE)
    if not path or "://" in text:
        raise ConfigError(f"{what}: expected a file's path, or {ETCD}HOST:PORT,HOST:PORT/PREFIX")
    return Path(path).absolute()


def _etcd_address(text: str, what: str) -> EtcdAddress:
    members, _, prefix = text.partition("/")
    expected = f"expected {ETCD}HOST:PORT,HOST:PORT/PREFIX"
    if "@" in members:
        raise ConfigError(f"{what}: found a user in the address, {expected}; name a file with --state-credentials")
    if len(prefix) > _LONGEST_PREFIX or not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{what}: found the prefix {shown_value(prefix)}, {expected}, with letters, digits, '.', '_', '-' and '/'"
        )
    found = tuple(_member(member, what, expected) for member in members.split(","))
    if len(found) > _MOST_MEMBERS or len(set(found)) < len(found):
        raise ConfigError(f"{what}: found {len(found)} members, expected at most {_MOST_MEMBERS}, each once")
    return EtcdAddress(found, prefix)


def _member(text: str, what: str, expected: str) -> tuple[str, int]:
    found = split_host_and_port(text)
    if found is None or not found[0] or found[1] is None or not 1 <= found[1] <= 65_535:
        raise ConfigError(f"{what}: found the member {shown_value(text)}, {expected}")
    return found[0], found[1]
