"""`pyshard up`: a whole cluster in the foreground."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

import click
from rich.panel import Panel
from rich.text import Text
from twisted.logger import globalLogBeginner, textFileLogObserver

from pyshard.bootstrap.plugin import open_state
from pyshard.cli import up_plan
from pyshard.cli.common_options import BOOTSTRAP_VARIABLE, refuse_outer, tls_options
from pyshard.cli.exit_codes import Code, End, one_line
from pyshard.cli.output import flush, put, show
from pyshard.cli.signals import EndSignals
from pyshard.model.config_file import ClusterConfig
from pyshard.net.addresses import Address
from pyshard.security import tls
from pyshard.security.tls import Tls
from pyshard.security.tls.config import CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE
from pyshard.server import daemon_options, daemon_tls_options
from pyshard.settings import settings
from pyshard.storage import Durability


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
    metavar="DIR",
    help="Where logs, pid files and, without --data-dir, the bootstrap's state are kept.  [default: a temporary "
    "folder, removed at the end]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where documents, and the bootstrap's state, are kept for the next time.  [default: in memory]",
)
@click.option(
    "--durability",
    type=click.Choice([mode.value for mode in Durability]),
    help="With --data-dir, when a change is acknowledged: it is on the disk, it will be within a second, or when the "
    "system likes.  [default: fsync]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The tokens that clients must present; see 'pyshard token'.  [default: whoever can connect may do everything]",
)
@tls_options(environment=False)
@click.option("--insecure", is_flag=True, help="Without --token-file, listen where other machines can connect.")
@click.pass_context
def up(
    context: click.Context,
    config_file: Path | None,
    run_dir: Path | None,
    data_dir: Path | None,
    durability: str | None,
    token_file: Path | None,
    tls_ca: str | None,
    tls_certificate: str | None,
    tls_key: str | None,
    insecure: bool,
) -> None:
    """Run the bootstrap and all shards of a cluster, until Ctrl-C.

    Every daemon is a twistd process; one that ends is started again. Without --config it is two shards of 1 GiB,
    at 127.0.0.1:5050 and 5051, and the bootstrap at localhost:9192; other ports are chosen where these are in use.
    With --data-dir the cluster is there again at the next `up` with the same DIR.

    \b
    Examples:
      pyshard up
      pyshard up --data-dir data
      pyshard up --config etc/shards.json --run-dir run
    """
    refuse_outer(context)
    data = _data(context, data_dir, durability, run_dir)
    daemon_options.token_file(
        None if token_file is None else str(token_file), insecure
    )  # refuses what its daemons would
    files = daemon_tls_options.checked_files(tls.chosen(tls_ca, tls_certificate, tls_key, "--tls-ca"))
    guard = up_plan.Guard(None if token_file is None else token_file.absolute(), insecure, files)
    twistd = up_plan.find_twistd()
    if twistd is None:
        raise End(f"no twistd beside {sys.executable}, nor in PATH; install Twisted there", Code.NEGATIVE)
    given = None if config_file is None else up_plan.read(config_file)
    with ExitStack() as held:
        if data is not None:
            held.enter_context(_held(data.directory, "--data-dir"))
        wanted = given or up_plan.remembered(data)
        cluster, notes = (wanted, []) if given else up_plan.with_free_ports(wanted)
        up_plan.check_reach(cluster, guard)
        signals = EndSignals()
        signals.install()
        directory = held.enter_context(_directory(run_dir))
        path = directory / up_plan.CONFIG if config_file is None else config_file.absolute()
        if config_file is None:
            path.write_text(up_plan.as_file(cluster))
        open_state(up_plan.state_file(directory, data), cluster.map)
        if data is not None:
            up_plan.remember(data, wanted)
        daemons = up_plan.daemons(cluster, twistd, path, directory, data, guard)
        failure = _run(signals, cluster, notes, daemons, directory, data, guard, usage(cluster, token_file, files))
    if failure:
        head, _, rest = failure.partition("\n")
        click.echo("\n".join([one_line(head), *rest.splitlines()]), err=True)
        context.exit(Code.NEGATIVE)


def _data(
    context: click.Context, data_dir: Path | None, durability: str | None, run_dir: Path | None
) -> up_plan.Data | None:
    """Where the cluster is to be kept, by the options."""
    if data_dir is None:
        if durability is not None:
            raise click.UsageError("--durability: found it without --data-dir, expected both or neither", context)
        return None
    if run_dir is not None and run_dir.resolve() == data_dir.resolve():
        raise click.UsageError(f"--run-dir and --data-dir: found {data_dir} twice, expected two directories", context)
    if (data_dir / "shard.json").exists():
        raise End(f"--data-dir: {data_dir} is the data directory of one shard, expected one for a cluster", Code.USAGE)
    return up_plan.Data(data_dir.absolute(), durability)


def _run(
    signals: EndSignals,
    cluster: ClusterConfig,
    notes: list[str],
    daemons: list[up_plan.Daemon],
    directory: Path,
    data: up_plan.Data | None,
    guard: up_plan.Guard,
    how: Text,
) -> str | None:
    """Run the cluster until it is ended; why, if nobody asked for that."""
    from twisted.internet import reactor

    from pyshard.cli.supervisor import Reactor, Run

    def ready() -> None:
        with suppress(OSError):
            show(Panel(how, title="The cluster is ready", expand=False))
        tell(f"{fate(data)} Ctrl-C ends the cluster.")

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
        guard,
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


def fate(data: up_plan.Data | None) -> str:
    """What becomes of the documents when the cluster ends."""
    if data is None:
        return "Documents are kept in memory: they are gone when their shard ends."
    again = f"pyshard up --data-dir {shlex.quote(str(data.directory))}"
    return f"Documents are kept on disk: {again} has them again."


def usage(cluster: ClusterConfig, token_file: Path | None = None, files: Tls | None = None) -> Text:
    """How to use the cluster, for someone at this machine."""
    bootstrap = str(Address(cluster.bootstrap_host, cluster.bootstrap_port))
    default = [cluster.bootstrap_host, cluster.bootstrap_port] == settings.BOOTSTRAP_SERVER
    option = "" if default and BOOTSTRAP_VARIABLE not in os.environ else f" --bootstrap {bootstrap}"
    argument = "" if default else repr(bootstrap)
    if token_file is not None:
        option += f" --token-file {shlex.quote(str(token_file))}"
        argument += ", " * bool(argument) + f"token_file={str(token_file)!r}"
    lines = [
        f"bootstrap  {bootstrap}",
        *(f"shard      {one.address}  {one.bounds}  {one.name}" for one in cluster.map.ranges),
        "",
        *exports(files),
        f"pyshard write{option} KEY DOC",
        f"pyshard read{option} KEY",
        "",
        "from pyshard import Pyshard",
        f"app = Pyshard({argument})",
        "app.write('test', {'hello': 'world'})",
    ]
    return Text("\n".join(lines))


def exports(files: Tls | None) -> list[str]:
    """The lines of shell that have clients use the daemons' files."""
    if files is None:
        return []
    named = {CA_VARIABLE: files.ca, CERTIFICATE_VARIABLE: files.certificate, KEY_VARIABLE: files.key}
    return [f"export {name}={shlex.quote(str(file))}" for name, file in named.items() if file is not None]


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
    with _held(given, "--run-dir"):
        yield given.absolute()


@contextmanager
def _held(directory: Path, option: str) -> Iterator[None]:
    """Make a directory, and hold it for this process.

    :param option: names it in messages.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / up_plan.LOCK).open("w")
    except OSError as error:
        raise End(f"{option}: {directory} can't be used: {error.strerror}", Code.USAGE) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise End(f"{option}: {directory} is in use by another pyshard up", Code.USAGE) from None
        yield
