"""The daemons that `up` runs: the `twistd` command of each, and where it logs. Pure, but for finding `twistd`."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import attrs

from pyshard.cli.up import exec_wrapper
from pyshard.cli.up.addresses_to_dial import shards_here
from pyshard.cli.up.directories import RESERVED, ClusterData, file_name, state_file
from pyshard.model.config_file import ClusterConfig
from pyshard.security.tls import Tls
from pyshard.server.log_lines import LogFormat


@attrs.frozen
class Access:
    """Who may use a cluster: the options of its daemons that say so.

    :param token_file: the daemons' token file; None: a client needs no token.
    :param insecure: whether other machines may connect though nothing guards the cluster.
    :param tls: the daemons' files of TLS; None: no TLS.
    """

    token_file: Path | None = None
    insecure: bool = False
    tls: Tls | None = None

    @property
    def may_be_reachable(self) -> bool:
        """Whether the daemons may listen where other machines can connect."""
        return self.token_file is not None or self.insecure or (self.tls is not None and self.tls.private)

    @property
    def options(self) -> list[str]:
        """The options for a daemon's command."""
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
        """The command line of `exec_wrapper`, which becomes `command`; for a child of this process."""
        wrapper = [sys.executable, "-I", "-S", exec_wrapper.__file__]
        return [*wrapper, str(os.getpid()), str(self.log), str(self.pidfile), *self.command]


def find_twistd() -> str | None:
    """The `twistd` of this Python, else the first one in PATH, else None."""
    folders = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    own = [str(folder / "twistd") for folder in folders if os.access(folder / "twistd", os.X_OK)]
    return own[0] if own else shutil.which("twistd")


def daemons(
    cluster: ClusterConfig,
    twistd: str,
    config_file: Path,
    run_directory: Path,
    data: ClusterData | None = None,
    access: Access | None = None,
    log_format: LogFormat = LogFormat.TEXT,
) -> list[Daemon]:
    """The processes of a cluster: its shards in slot order, their further replicas, then the bootstrap.

    A further replica's files are called by its port: the place in the config may be another one next time.

    :param twistd: the path of the program.
    :param config_file: the cluster's.
    :param run_directory: for logs, pid files and, without `data`, the bootstrap's state.
    :param data: where shards keep their documents; None: in memory.
    :param access: who may use the cluster; None: everybody on this machine.
    :param log_format: how lines stand in the logs.
    """
    shared = [] if access is None else access.options
    if log_format is not LogFormat.TEXT:
        shared.append(f"--log-format={log_format.value}")
    taken = set(RESERVED)

    def daemon(name: str, file: str, arguments: list[str]) -> Daemon:
        log, pidfile = run_directory / f"{file}.log", run_directory / f"{file}.pid"
        options = ["--nodaemon", f"--pidfile={pidfile}", f"--logfile={log}"]
        return Daemon(name, log, pidfile, [twistd, *options, *arguments, *shared])

    found = []
    detours = [f"--address={announced}={here}" for announced, here in shards_here(cluster).texts.items()]
    for place in sorted(cluster.places, key=lambda place: place.number > 1):  # so that replicas change no other's files
        file = file_name(place.shard if place.number == 1 else f"{place.shard}.{place.port}", taken)
        at = [f"--host={place.host}", f"--port={place.port}"]
        listen = at if place.listen is None else [f"--listen={place.listen}"]
        arguments = ["pyshard-shard", *listen, *detours]
        if data is not None:
            arguments.append(f"--data-dir={data.directory / file}")
            arguments += [] if data.durability is None else [f"--durability={data.durability}"]
        found.append(daemon(place.name, file, arguments))
    state = state_file(run_directory, data)
    bootstrap = ["pyshard-bootstrap", f"--config={config_file}", f"--state={state}", *detours]
    found.append(daemon("the bootstrap", "bootstrap", bootstrap))
    return found
