"""What `pyshard up` is to run: its cluster, checked before anything starts, and the command of each daemon."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path

import attrs

from pyshard.cli import exec_wrapper
from pyshard.errors import ConfigError
from pyshard.model import config_file
from pyshard.model.config_file import ClusterConfig
from pyshard.model.keyspace import SLOTS, slot_to_hash
from pyshard.model.shard_map import ShardMap, ShardRange
from pyshard.security.tls import Tls
from pyshard.server import daemon_options
from pyshard.settings import settings

_HOST = "127.0.0.1"
_LIMIT = 1024**3

#: The file, in the run directory or the data directory, that keeps the state of the bootstrap.
STATE = "cluster.state"

#: The config file in the run directory, when none was given; in a data directory that of its cluster.
CONFIG = "shards.json"

#: The file by which a directory is held for one `up`.
LOCK = "up.lock"

#: What no shard's files may be called.
_RESERVED = ("up", "bootstrap", STATE, f"{STATE}.new", CONFIG, f"{CONFIG}.new", LOCK)

#: The cluster that `up` runs when it is given none: that of etc/shards.json.
DEFAULT = ClusterConfig(
    ShardMap(
        [
            ShardRange("shard0-0.5", 0, SLOTS // 2, _LIMIT, _HOST, settings.SHARD_PORT),
            ShardRange("shard0.5-1", SLOTS // 2, SLOTS, _LIMIT, _HOST, settings.SHARD_PORT + 1),
        ]
    ),
    str(settings.BOOTSTRAP_SERVER[0]),
    int(settings.BOOTSTRAP_SERVER[1]),
)


@attrs.frozen
class Data:
    """Where a cluster keeps its documents over its end.

    :param directory: holds a data directory for each shard, the bootstrap's state and the config file.
    :param durability: when a change is acknowledged; None: as shards have it by default.
    """

    directory: Path
    durability: str | None = None


@attrs.frozen
class Guard:
    """Who may use a cluster.

    :param token_file: the daemons'; None: whoever can connect may do everything.
    :param insecure: whether that goes for other machines, too.
    :param tls: the files of its daemons, whose peers must have certificates then.
    """

    token_file: Path | None = None
    insecure: bool = False
    tls: Tls | None = None

    @property
    def closed(self) -> bool:
        """Whether it may be where other machines can connect."""
        return self.token_file is not None or self.insecure or (self.tls is not None and self.tls.private)

    @property
    def options(self) -> list[str]:
        """What a daemon's command says of it."""
        files: dict[str, Path | str | None] = {"token-file": self.token_file}
        if self.tls is not None:
            files |= {"tls-ca": self.tls.ca, "tls-certificate": self.tls.certificate, "tls-key": self.tls.key}
        named = [f"--{name}={file}" for name, file in files.items() if file is not None]
        return [*named, *(["--insecure"] if self.insecure else [])]


@attrs.frozen
class Daemon:
    """One process that `up` runs.

    :param name: as messages call it: ``shard 'a'`` or ``the bootstrap``.
    :param log: its log.
    :param pidfile: where it writes its process id.
    :param command: twistd and its arguments.
    """

    name: str
    log: Path
    pidfile: Path
    command: list[str]

    @property
    def wrapped(self) -> list[str]:
        """The arguments of the process that becomes `command`, for a child of this process."""
        shim = [sys.executable, "-I", "-S", exec_wrapper.__file__]
        return [*shim, str(os.getpid()), str(self.log), str(self.pidfile), *self.command]


def check_ports(cluster: ClusterConfig) -> None:
    """Refuse a cluster that can't run on this machine now.

    :raises ConfigError: a host is none of this machine's addresses, or a port is in use, or used twice.
    """
    used: dict[str, str] = {}
    for name, host, port in _places(cluster):
        try:
            listening = daemon_options.listen_string(host, port)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        if listening in used:
            raise ConfigError(f"{name}: found {host}:{port}, where {used[listening]} listens too, expected a free port")
        used[listening] = name


def check_reach(cluster: ClusterConfig, guard: Guard) -> None:
    """Refuse a cluster that others than this machine can reach, when nothing guards it.

    :raises ConfigError: it names the daemon.
    """
    for name, host, port in _places(cluster):
        try:
            daemon_options.check_reach(daemon_options.listen_string(host, port), guard.closed)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None


def _places(cluster: ClusterConfig) -> list[tuple[str, str, int]]:
    """Each daemon's name, host and port."""
    shards = [(f"shard {one.name!r}", one.host, one.port) for one in cluster.map.ranges]
    return [*shards, ("the bootstrap", cluster.bootstrap_host, cluster.bootstrap_port)]


def with_free_ports(cluster: ClusterConfig) -> tuple[ClusterConfig, list[str]]:
    """The cluster, with a free port in place of each one that is in use; and a line about each of them."""
    notes = []
    with ExitStack() as held:  # every port that was chosen stays bound, so that none is chosen twice

        def free(name: str, host: str, port: int) -> int:
            try:
                daemon_options.listen_string(host, port)
            except ConfigError:
                chosen = _bind_free_port(held.enter_context(socket.socket()))
                notes.append(f"Port {port} is in use: {name} listens on {chosen} instead.")
                return chosen
            return port

        ranges = [attrs.evolve(one, port=free(f"shard {one.name!r}", one.host, one.port)) for one in cluster.map.ranges]
        port = free("the bootstrap", cluster.bootstrap_host, cluster.bootstrap_port)
    return ClusterConfig(ShardMap(ranges), cluster.bootstrap_host, port), notes


def _bind_free_port(probe: socket.socket) -> int:
    """Bind to a port that is free, and lies outside of the range from which the system takes ports for dialing.

    Else the system might give a daemon's port to somebody who dials it while the daemon is down.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            probe.bind((_HOST, port))
        except OSError:
            continue
        return port


def as_file(cluster: ClusterConfig) -> str:
    """The text of a config file that says this."""
    shards = [
        {
            "name": one.name,
            "start": slot_to_hash(one.start),
            "end": slot_to_hash(one.end),
            "size": one.limit,
            "host": one.host,
            "port": one.port,
        }
        for one in cluster.map.ranges
    ]
    bootstrap = {"host": cluster.bootstrap_host, "port": cluster.bootstrap_port}
    return json.dumps({"shards": shards, "bootstrap": bootstrap}, indent=2) + "\n"


def read(path: Path) -> ClusterConfig:
    """The cluster of a config file, fit to be run here; see `config.load` and `check_ports`."""
    cluster = config_file.load(path)
    try:
        check_ports(cluster)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return cluster


def remembered(data: Data | None) -> ClusterConfig:
    """The cluster to run when no config file is given: that of the data directory, if it has one, else the default."""
    path = None if data is None else data.directory / CONFIG
    return DEFAULT if path is None or not path.exists() else config_file.load(path)


def remember(data: Data, cluster: ClusterConfig) -> None:
    """Have `remembered` give this cluster from now on.

    :raises OSError: it can't be written; what was remembered stands.
    """
    path = data.directory / CONFIG
    if path.exists() and path.read_text() == as_file(cluster):
        return
    beside = path.with_name(f"{CONFIG}.new")
    with beside.open("w") as file:
        file.write(as_file(cluster))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def find_twistd() -> str | None:
    """The `twistd` of this Python, else one that PATH has, else None."""
    folders = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    own = [str(folder / "twistd") for folder in folders if os.access(folder / "twistd", os.X_OK)]
    return own[0] if own else shutil.which("twistd")


def daemons(
    cluster: ClusterConfig,
    twistd: str,
    config_file: Path,
    directory: Path,
    data: Data | None = None,
    guard: Guard | None = None,
) -> list[Daemon]:
    """The processes of a cluster.

    :param config_file: the cluster's.
    :param directory: for logs, pid files and, without `data`, the bootstrap's state.
    :param data: where shards keep their documents; None: in memory.
    :param guard: who may use it.
    """
    guarding = [] if guard is None else guard.options
    taken = set(_RESERVED)

    def one(name: str, file: str, arguments: list[str]) -> Daemon:
        log, pidfile = directory / f"{file}.log", directory / f"{file}.pid"
        options = ["--nodaemon", f"--pidfile={pidfile}", f"--logfile={log}"]
        return Daemon(name, log, pidfile, [twistd, *options, *arguments, *guarding])

    found = []
    for shard in cluster.map.ranges:
        file = file_name(shard.name, taken)
        arguments = ["pyshard-shard", f"--host={shard.host}", f"--port={shard.port}"]
        if data is not None:
            arguments.append(f"--data-dir={data.directory / file}")
            arguments += [] if data.durability is None else [f"--durability={data.durability}"]
        found.append(one(f"shard {shard.name!r}", file, arguments))
    state = state_file(directory, data)
    found.append(
        one("the bootstrap", "bootstrap", ["pyshard-bootstrap", f"--config={config_file}", f"--state={state}"])
    )
    return found


def state_file(directory: Path, data: Data | None) -> Path:
    """Where the bootstrap of a run keeps its state."""
    return (directory if data is None else data.directory) / STATE


def file_name(name: str, taken: set[str]) -> str:
    """A file's name, without its suffix, for a shard's; it is added to those that are taken."""
    plain = base = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "shard"
    number = 1
    while plain.lower() in taken:
        number += 1
        plain = f"{base}-{number}"
    taken.add(plain.lower())
    return plain
