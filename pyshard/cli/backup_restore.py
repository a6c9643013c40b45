"""The subcommands `backup` and `restore`: the whole cluster into a directory, and back (docs/backup.md)."""

from __future__ import annotations

from pathlib import Path

import click

from pyshard import backup as backups
from pyshard.cli import deferred_call
from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.progress_on_terminal import ProgressOnTerminal
from pyshard.cli.standard_output import document_count, put
from pyshard.cli.unreadable_records import UnreadableCount

_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


@click.command()
@on_cluster(index=False)
@json_option
@click.option(
    "--from",
    "source",
    type=click.Choice(["primary", "replica"]),
    default="primary",
    help="With replica, shards with replicas are read at a member that doesn't lead, where one can; what it has may be "
    "a little old, by twice the lease at the most.  [default: primary]",
)
@_directory
def backup(target: Target, directory: Path, as_json: bool, source: str) -> None:
    """Write all documents of the cluster into DIR.

    The backup includes indexes and times to live. DIR must be empty or not exist. The cluster keeps serving.

    \b
    Examples:
      pyshard backup monday
      pyshard backup --from replica tuesday
    """
    replicas = source == "replica"
    try:
        with ProgressOnTerminal("documents backed up", after=0) as bar:
            made = deferred_call.call(
                target, lambda client: backups.backup(client, directory, bar.show, from_replicas=replicas)
            )
    except KeyboardInterrupt:
        left = directory.exists() and any(directory.iterdir())
        about = f"what is in {directory} is no backup and can be deleted" if left else "nothing was left behind"
        raise KeyboardInterrupt(about) from None
    if as_json:
        put_json({"documents": made.documents, "date": made.date, "cluster": made.cluster, "epoch": made.epoch})
    else:
        put(f"{document_count(made.documents)} backed up")


@click.command()
@on_cluster(index=False)
@json_option
@_directory
def restore(target: Target, directory: Path, as_json: bool) -> None:
    """Write the backup in DIR into an empty cluster.

    The cluster must have no documents and no indexes. The whole backup is checked before anything is written.

    \b
    Example:
      pyshard restore monday
    """
    try:
        with ProgressOnTerminal("documents restored", after=0) as bar:
            done = deferred_call.call(target, lambda client: backups.restore(client, directory, bar.show))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the cluster may have a part of the backup: begin again with an empty one") from None
    if as_json:
        put_json({"documents": done.documents, "expired": done.expired, "unreadable": done.left_out})
    else:
        expired = f"; {done.expired} had expired" if done.expired else ""
        put(f"{document_count(done.documents)} restored{expired}")
    unreadable = UnreadableCount()
    for why in done.unreadable:
        unreadable.add(why)
    unreadable.count = done.left_out
    has = "it" if done.left_out == 1 else "them"
    unreadable.end(f"the backup still has {has}, and the others were restored")
