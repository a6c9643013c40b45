"""`pyshard up`: a whole cluster in the foreground."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import click
from rich.panel import Panel
from rich.text import Text
from twisted.logger import globalLogBeginner, textFileLogObserver

from pyshard.addresses import Address
from pyshard.bootstrap.tap import open_state
from pyshard.cli import plan
from pyshard.cli.exits import Code, End, one_line
from pyshard.cli.options import BOOTSTRAP_VARIABLE, refuse_outer
from pyshard.cli.output import flush, put, show
from pyshard.cli.signals import EndSignals
from pyshard.config import ClusterConfig
from pyshard.settings import settings


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The cluster's config file, such as etc/shards.json.  [default: two shards on this machine]",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    help="Where logs, pid files and the bootstrap's state are kept.  [default: a temporary folder, removed at the end]",
)
@click.pass_context
def up(context: click.Context, config_file: Path | None, run_dir: Path | None) -> None:
    """Run the bootstrap and all shards of a cluster, until Ctrl-C.

    Every daemon is a twistd process; one that ends is started again. Without --config it is two shards of 1 GiB,
    at 127.0.0.1:5050 and 5051, and the bootstrap at localhost:9192; other ports are chosen where these are in use.

    \b
    Examples:
      pyshard up
      pyshard up --config etc/shards.json --run-dir run
    """
    refuse_outer(context)
    twistd = plan.find_twistd()
    if twistd is None:
        raise End(f"no twistd beside {sys.executable}, nor in PATH; install Twisted there", Code.NEGATIVE)
    if config_file is None:
        cluster, notes = plan.with_free_ports(plan.DEFAULT)
    else:
        cluster, notes = plan.read(config_file), []
    signals = EndSignals()
    signals.install()
    with _directory(run_dir) as directory:
        path = directory / "shards.json" if config_file is None else config_file.absolute()
        if config_file is None:
            path.write_text(plan.as_file(cluster))
        open_state(directory / plan.STATE, cluster.map)
        failure = _run(signals, cluster, notes, plan.daemons(cluster, twistd, path, directory), directory)
    if failure:
        head, _, rest = failure.partition("\n")
        click.echo("\n".join([one_line(head), *rest.splitlines()]), err=True)
        context.exit(Code.NEGATIVE)


def _run(
    signals: EndSignals, cluster: ClusterConfig, notes: list[str], daemons: list[plan.Daemon], directory: Path
) -> str | None:
    """Run the cluster until it is ended; why, if nobody asked for that."""
    from twisted.internet import reactor

    from pyshard.cli.supervisor import Reactor, Run

    def ready() -> None:
        with suppress(OSError):
            show(Panel(usage(cluster), title="The cluster is ready", expand=False))
        tell("Documents are kept in memory: they are gone when their shard ends. Ctrl-C ends the cluster.")

    for note in notes:
        tell(note)
    tell(f"Starting {len(cluster.map.ranges)} shards and the bootstrap; logs: {directory}")
    run = Run(
        cast("Reactor", reactor),
        signals,
        daemons,
        (cluster.bootstrap_host, cluster.bootstrap_port),
        tell,
        ready,
    )
    with (directory / "up.log").open("a", encoding="utf-8") as log:
        globalLogBeginner.beginLoggingTo([textFileLogObserver(log)], redirectStandardIO=False)
        run.run()
    return run.failure


def tell(line: str) -> None:
    """Say something at once; whether anybody listens doesn't matter to the cluster."""
    with suppress(OSError):
        put(line)
        flush()


def usage(cluster: ClusterConfig) -> Text:
    """How to use the cluster, for someone at this machine."""
    bootstrap = str(Address(cluster.bootstrap_host, cluster.bootstrap_port))
    default = [cluster.bootstrap_host, cluster.bootstrap_port] == settings.BOOTSTRAP_SERVER
    option = "" if default and BOOTSTRAP_VARIABLE not in os.environ else f" --bootstrap {bootstrap}"
    argument = "" if default else repr(bootstrap)
    lines = [
        f"bootstrap  {bootstrap}",
        *(f"shard      {one.address}  {one.bounds}  {one.name}" for one in cluster.map.ranges),
        "",
        f"pyshard write{option} KEY DOC",
        f"pyshard read{option} KEY",
        "",
        "from pyshard import Pyshard",
        f"app = Pyshard({argument})",
        "app.write('test', {'hello': 'world'})",
    ]
    return Text("\n".join(lines))


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    """The run directory: made, held for this process, and removed at the end unless it was given."""
    if given is None:
        made = Path(tempfile.mkdtemp(prefix="pyshard-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
        lock = (given / "up.lock").open("w")
    except OSError as error:
        raise End(f"--run-dir: {given} can't be used: {error.strerror}", Code.USAGE) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise End(f"--run-dir: {given} is in use by another pyshard up", Code.USAGE) from None
        yield given.absolute()
