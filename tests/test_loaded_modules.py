"""What is loaded with what: a program that reads one document doesn't wait for what it has no use for.

Each case is a process of its own, which says what it has loaded. No time is measured.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import pyshard

#: What the blocking client, and a command that uses it, have no use for.
HEAVY = {
    "twisted", "zope", "OpenSSL", "cryptography", "ssl", "asyncio", "logging", "rich", "lmdb",
    "pyshard.aio", "pyshard.backup", "pyshard.bootstrap", "pyshard.client", "pyshard.server", "pyshard.shard",
    "pyshard.storage", "pyshard.testing",
}  # fmt: skip

#: A cluster of one shard that is never reached: the client is made, and dials when it is used.
COMMAND = "from pyshard.cli import cli\ncli({arguments!r}, standalone_mode=False)"


def loaded(program: str) -> set[str]:
    """The names of all modules that a program has loaded at its end."""
    ask = "\nimport sys\nsys.stdout.flush()\nprint('\\0' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program + ask], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rpartition("\0")[2].split())


def test_the_package_loads_no_client() -> None:
    """``import pyshard`` loads the errors alone: each name brings what it needs."""
    assert {name for name in loaded("import pyshard") if name.startswith("pyshard")} == {
        "pyshard",
        "pyshard.errors",
        "pyshard.message_texts",
    }


@pytest.mark.parametrize(
    "program",
    [
        "from pyshard import Pyshard",
        "from pyshard.blocking import Pyshard",
        "from pyshard import BlockingIndex, BlockingTypedIndex, Document, Item, Key, PyshardError, Record, Storable",
        "from pyshard import Tls, TypedItem, TypedRecord",
        "from pyshard import Pyshard, PyshardError\n"
        "try:\n    Pyshard(['127.0.0.1', 1], deadline=0.1)\nexcept PyshardError:\n    pass",
    ],
)
def test_the_blocking_client_loads_nothing_of_twisted(program: str) -> None:
    """It needs no reactor, and without TLS nothing of that: neither Twisted, nor what comes with it."""
    assert HEAVY & loaded(program) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in ("read", "get", "write", "keys", "index", "load", "cat", "token")),
    ],
    ids=" ".join,
)
def test_a_command_loads_no_other_one(arguments: list[str]) -> None:
    """A command that talks to the cluster by the blocking client loads what that needs, and the list of the others."""
    found = loaded(COMMAND.format(arguments=arguments))
    assert HEAVY & found == set()
    talking = {"one_key_commands", "everyday_commands", "keys_and_indexes", "load_cat"}
    modules = {*talking, "backup_restore", "stat", "token", "up"}
    assert len({f"pyshard.cli.{module}" for module in modules} & found) == len(arguments) - 1


def test_reading_loads_nothing_more() -> None:
    """What is loaded for a call, up to the message that there is no cluster, is the blocking client."""
    arguments = ["--bootstrap", "127.0.0.1:1", "--deadline", "0.1", "read", "test"]
    program = COMMAND.format(arguments=arguments).replace("cli(", "try:\n    cli(") + "\nexcept Exception:\n    pass"
    assert HEAVY & loaded(program) == set()


def test_names_of_the_package() -> None:
    """Names that aren't loaded yet are there all the same, as are the packages; no other name is."""
    assert {*pyshard.__all__, "aio", "blocking", "client", "errors", "settings", "testing"} <= set(dir(pyshard))
    program = (
        "import pyshard\nassert pyshard.settings.settings.DEADLINE\nassert pyshard.blocking.Pyshard is pyshard.Pyshard"
    )
    assert "pyshard.client" not in loaded(program)
    with pytest.raises(AttributeError, match=r"^module 'pyshard' has no attribute 'Shard'$"):
        pyshard.Shard  # type: ignore[attr-defined]  # noqa: B018  # what is tested
