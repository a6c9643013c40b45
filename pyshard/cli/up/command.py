"""The subcommand `pyshard up`: it checks everything, then runs the daemons until it is asked to end."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import click
from twisted.logger import FileLogObserver, globalLogBeginner

from pyshard.bootstrap.opened_state import open_state
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.cli.common_options import refuse_outer, tls_options
from pyshard.cli.exit_codes import CommandFailed, ExitCode, one_line
from pyshard.cli.signals import EndSignals
from pyshard.cli.standard_output import tell_lines
from pyshard.cli.up import cluster_choice as clusters
from pyshard.cli.up.addresses_to_dial import bootstrap_here
from pyshard.cli.up.announcements import IAnnouncements, JsonAnnouncements, TextAnnouncements
from pyshard.cli.up.daemon_commands import Access, Daemon, daemons, find_twistd
from pyshard.cli.up.directories import CONFIG, ClusterData, held_directory, run_directory, state_file
from pyshard.cli.up.ready_message import fate_of_documents, usage
from pyshard.clocks import wall_seconds
from pyshard.model.address_text import host_and_port
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.net.steady_clock import run_steadily
from pyshard.security import tls
from pyshard.security.private_files import private_descriptor, replace_privately
from pyshard.server import daemon_options, daemon_tls_options
from pyshard.server.log_lines import LogFormat, line_maker
from pyshard.settings import settings
from pyshard.storage import Durability


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The cluster's config file, such as share/pyshard/shards.json of pyshard's environment.  "
    "[default: two shards on this machine]",
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
    help="Where documents and the bootstrap's state are kept for the next `up`.  [default: in memory]",
)
@click.option(
    "--durability",
    type=click.Choice([mode.value for mode in Durability]),
    help="With --data-dir, when a change is acknowledged: once it is on the disk (fsync), or before, and it gets there "
    "within a second (async), or when the system writes it (none).  [default: fsync]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The tokens that clients must present; see 'pyshard token'.  [default: whoever can connect may do everything]",
)
@tls_options(environment=False)
@click.option(
    "--replicas",
    type=click.IntRange(1, settings.MAX_REPLICAS),
    metavar="N",
    help="How many replicas each shard has, each a process of its own; not with --config, which says it itself.",
)
@click.option(
    "--log-format",
    type=click.Choice([each.value for each in LogFormat]),
    default=LogFormat.TEXT.value,
    help="How lines stand in the logs of all daemons, and on standard output: text, or json, one object a line.  "
    "[default: text]",
)
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
    replicas: int | None,
    log_format: str,
    insecure: bool,
) -> None:
    """Run the bootstrap and all shards of a cluster, until Ctrl-C.

    Every daemon is a twistd process; one that ends is started again. Without --config the cluster has two shards of
    1 GiB, at 127.0.0.1:5050 and 5051, and the bootstrap at localhost:9192; a free port replaces one that is in use.
    With --data-dir the next `up` with the same DIR has the same documents. Where --config has other shards or ranges by
    then, the cluster is brought to these: documents move while it serves.

    \b
    Examples:
      pyshard up
      pyshard up --data-dir data
      pyshard up --config shards.json --run-dir run
      pyshard up --replicas 3
    """
    refuse_outer(context)
    if replicas is not None and config_file is not None:
        raise click.UsageError('--replicas: found it beside --config, expected "replicas" in the config file', context)
    data = _cluster_data(context, data_dir, durability, run_dir)
    # A daemon would refuse these files, too; here the message comes before anything starts.
    daemon_options.token_file(None if token_file is None else str(token_file), insecure)
    files = daemon_tls_options.checked_files(tls.from_options(tls_ca, tls_certificate, tls_key, "--tls-ca"))
    chosen = LogFormat(log_format)
    access = Access(None if token_file is None else token_file.absolute(), insecure, files)
    twistd = find_twistd()
    if twistd is None:
        raise CommandFailed(f"no twistd beside {sys.executable}, nor in PATH; install Twisted there", ExitCode.NEGATIVE)
    given = None if config_file is None else clusters.read(config_file)
    with ExitStack() as held:
        if data is not None:
            held.enter_context(held_directory(data.directory, "--data-dir"))
        wanted = given or clusters.remembered(data)
        if replicas is not None:
            wanted = clusters.with_replicas(wanted, replicas)
        cluster, notes = (wanted, []) if given else clusters.with_free_ports(wanted, keeps=data is not None)
        clusters.check_reach(cluster, access)
        signals = EndSignals()
        signals.install()
        directory = held.enter_context(run_directory(run_dir))
        path = directory / CONFIG if config_file is None else config_file.absolute()
        if config_file is None:
            replace_privately(path, config_text(cluster))
        with StateLock(state_file(directory, data)) as lock:
            opened = open_state(FileStateStore(lock), cluster.map, path)
        everything = clusters.with_all_shards(cluster, opened.state)
        if data is not None:
            clusters.remember(data, wanted)
        fate = fate_of_documents(data, any(len(shard.places) > 1 for shard in cluster.map.shards))
        announcements: IAnnouncements = TextAnnouncements(usage(cluster, token_file, files), fate)
        if chosen is LogFormat.JSON:
            here = host_and_port(*bootstrap_here(cluster))
            announcements = JsonAnnouncements(here, len(everything.map.shards), fate, wall_seconds)
        for note in notes:
            announcements.tell(note)
        commands = daemons(everything, twistd, path, directory, data, access, chosen)
        further = len(commands) - 1 - len(everything.map.shards)
        also = f" with {further} further replicas" if further else ""
        announcements.tell(f"Starting {len(everything.map.shards)} shards{also} and the bootstrap; logs: {directory}")
        failure = _run(signals, cluster, commands, directory, access, announcements, given, chosen)
    if failure:
        head, _, rest = failure.partition("\n")
        tell_lines([one_line(head), *rest.splitlines()])
        context.exit(ExitCode.NEGATIVE)


def _cluster_data(
    context: click.Context, data_dir: Path | None, durability: str | None, run_dir: Path | None
) -> ClusterData | None:
    """Where the options want documents kept; None: in memory."""
    if data_dir is None:
        if durability is not None:
            raise click.UsageError("--durability: found it without --data-dir, expected both or neither", context)
        return None
    if run_dir is not None and run_dir.resolve() == data_dir.resolve():
        raise click.UsageError(f"--run-dir and --data-dir: found {data_dir} twice, expected two directories", context)
    if (data_dir / "shard.json").exists():
        raise CommandFailed(
            f"--data-dir: {data_dir} is the data directory of one shard, expected one for a cluster", ExitCode.USAGE
        )
    return ClusterData(data_dir.absolute(), durability)


def _run(
    signals: EndSignals,
    cluster: ClusterConfig,
    commands: list[Daemon],
    directory: Path,
    access: Access,
    announcements: IAnnouncements,
    wanted: ClusterConfig | None,
    chosen: LogFormat,
) -> str | None:
    """Run the cluster until its end.

    :param wanted: the config to which it is brought; None: it stays as it is.
    :param chosen: how lines stand in `up`'s own log.
    :return: why it ended, unless a signal ended it.
    """
    from twisted.internet import reactor

    from pyshard.cli.up.supervisor import ClusterRun, RunReactor

    given = cast("RunReactor", reactor)
    run_steadily(given)
    run = ClusterRun(given, signals, commands, bootstrap_here(cluster), announcements, access, wanted)
    flags = os.O_WRONLY | os.O_APPEND
    with os.fdopen(private_descriptor(directory / "up.log", flags), "a", encoding="utf-8") as log:
        globalLogBeginner.beginLoggingTo([FileLogObserver(log, line_maker(chosen))], redirectStandardIO=False)
        run.run()
    return run.failure
