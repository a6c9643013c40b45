"""What is loaded with what: neither a program that reads one document nor a daemon waits for what it has no use for.

Each case is a process of its own, which says what it has loaded. No time is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

import pyshard

#: What the blocking client, and a command that uses it, have no use for.
HEAVY = {
    "twisted", "zope", "OpenSSL", "cryptography", "ssl", "asyncio", "logging", "rich", "lmdb",
    "pyshard.aio", "pyshard.backup", "pyshard.bootstrap", "pyshard.client", "pyshard.server", "pyshard.shard",
    "pyshard.storage", "pyshard.testing",
}  # fmt: skip

#: What no daemon has a use for, unless it is told to keep documents, or to tell its figures by HTTP.
UNUSED_BY_DAEMONS = {
    "click", "jinja2", "prometheus_client", "rich", "sqlite3", "twisted.conch", "twisted.web", "wsgiref",
    "pyshard.aio", "pyshard.backup", "pyshard.blocking", "pyshard.cli", "pyshard.client", "pyshard.testing",
    "pyshard.bootstrap.status_page", "pyshard.http.daemon_site", "pyshard.http.http_listener",
}  # fmt: skip

#: The durable store, which needs LMDB.
DURABLE = {"lmdb", "pyshard.storage.durable.store"}

#: Makes what twistd runs for a command line, up to the moment before the reactor runs.
DAEMON = """
import gc
from twisted.scripts.twistd import ServerOptions
from twisted.plugins.pyshard_plugin import bootstrap, shard

options, looks = ServerOptions(), []
gc.callbacks.append(lambda phase, _: looks.append(phase))
gc.collect()
assert len(looks) == 2
assert {{name for name in sys.modules if name.startswith("pyshard")}} == set()
(bootstrap if {arguments!r}[0] == "pyshard-bootstrap" else shard).options
assert len(looks) == 2, "garbage was looked for"
assert gc.isenabled()
assert gc.get_freeze_count() > 10_000
from twisted.internet import reactor

options.parseOptions(["--nodaemon", *{arguments!r}])
options.loadedPlugins[options.subCommand].makeService(options.subOptions)
"""

#: A cluster of one shard that is never reached: the client is made, and dials when it is used.
COMMAND = "from pyshard.cli import cli\ncli({arguments!r}, standalone_mode=False)"

#: The command from its first moments on, with a look at who looks for garbage: nobody may while a module is loaded.
STARTED = """
import gc
import pyshard.cli

looks = []

def look(phase, _):
    frame = sys._getframe()
    while frame is not None:
        looks.append(frame.f_code.co_filename)
        frame = frame.f_back

gc.callbacks.append(look)
gc.set_threshold(50)
sys.argv[1:] = {arguments!r}
try:
    pyshard.cli.main()
except SystemExit as ended:
    assert ended.code in (0, 2), ended
assert gc.isenabled()
assert looks, "nobody looked for garbage at all"
assert [place for place in looks if "importlib" in place] == []
assert gc.get_freeze_count() > 10_000
"""


def loaded(program: str, folder: Path | None = None) -> set[str]:
    """The names of all modules that a program has loaded at its end.

    :param folder: in which it runs; None: in this one.
    """
    command = "import sys\n" + program + "\nsys.stdout.flush()\nprint('\\0' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
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


@pytest.mark.parametrize("arguments", [["--version"], ["token"], ["up", "--durability=async"]], ids=" ".join)
def test_the_command_looks_for_no_garbage_while_it_loads(arguments: list[str]) -> None:
    """Neither the root command nor a subcommand is looked through for garbage while it is loaded, nor later."""
    assert "pyshard.cli.root_command" in loaded(STARTED.format(arguments=arguments))


def test_reading_loads_nothing_more() -> None:
    """What is loaded for a call, up to the message that there is no cluster, is the blocking client."""
    arguments = ["--bootstrap", "127.0.0.1:1", "--deadline", "0.1", "read", "test"]
    program = COMMAND.format(arguments=arguments).replace("cli(", "try:\n    cli(") + "\nexcept Exception:\n    pass"
    assert HEAVY & loaded(program) == set()


@pytest.mark.parametrize("durable", [False, True], ids=["in memory", "durable"])
def test_a_shard_loads_what_it_needs(durable: bool, tmp_path: Path) -> None:
    """Neither clients nor HTTP are loaded by a shard, and LMDB by one that keeps its documents alone.

    Nothing is looked through for garbage meanwhile, nor will be later: modules are there to stay.
    """
    arguments = ["pyshard-shard", f"--port={free_port()}", *(["--data-dir=data"] if durable else [])]
    found = loaded(DAEMON.format(arguments=arguments), tmp_path)
    assert "pyshard.shard.service" in found
    assert UNUSED_BY_DAEMONS & found == set()
    assert DURABLE & found == (DURABLE if durable else set())


def test_the_bootstrap_loads_what_it_needs(tmp_path: Path) -> None:
    """Neither clients, nor HTTP, nor any store are loaded by the bootstrap, and garbage isn't looked for either."""
    shard = {"name": "a", "start": 0, "end": 1, "size": 1000, "host": "127.0.0.1", "port": free_port()}
    config = {"shards": [shard], "bootstrap": {"host": "127.0.0.1", "port": free_port()}}
    (tmp_path / "shards.json").write_text(json.dumps(config))
    found = loaded(DAEMON.format(arguments=["pyshard-bootstrap", "--config=shards.json"]), tmp_path)
    assert "pyshard.bootstrap.service" in found
    assert (UNUSED_BY_DAEMONS | DURABLE | {"pyshard.shard", "pyshard.storage"}) & found == set()


def test_names_of_the_package() -> None:
    """Names that aren't loaded yet are there all the same, as are the packages; no other name is."""
    assert {*pyshard.__all__, "aio", "blocking", "client", "errors", "settings", "testing"} <= set(dir(pyshard))
    program = (
        "import pyshard\nassert pyshard.settings.settings.DEADLINE\nassert pyshard.blocking.Pyshard is pyshard.Pyshard"
    )
    assert "pyshard.client" not in loaded(program)
    with pytest.raises(AttributeError, match=r"^module 'pyshard' has no attribute 'Shard'$"):
        pyshard.Shard  # type: ignore[attr-defined]  # noqa: B018  # what is tested


def test_names_of_the_stores() -> None:
    """The durable store is there when it is asked for; no other name is."""
    assert "lmdb" not in loaded("from pyshard.storage import Durability, MemoryStore")
    assert loaded("from pyshard.storage import LmdbStore\nassert LmdbStore.check") > DURABLE
    with pytest.raises(AttributeError, match=r"^module 'pyshard.storage' has no attribute 'Store'$"):
        pyshard.storage.Store  # type: ignore[attr-defined]  # noqa: B018  # what is tested
