"""The subcommands `backup` and `restore`: the whole cluster into a directory, and back (docs/backup.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pyshard import backup as backups
from pyshard.cli import deferred_call
from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.signals import interrupt_says
from pyshard.cli.standard_output import document_count, put
from pyshard.cli.unreadable_records import UnreadableCount

_directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


@click.command()
@on_cluster(index=False)
@_directory
def backup(target: Target, directory: Path) -> None:
    """Write all documents of the cluster into DIR.

    The backup includes indexes and times to live. DIR must be empty or not exist. The cluster keeps serving.

    \b
    Example:
      pyshard backup monday
    """
    interruptible = interrupt_says(lambda: f"interrupted; what is in {directory} is no backup and can be deleted")
    with interruptible, progress("backed up") as show:
        made = deferred_call.call(target, lambda client: backups.backup(client, directory, show))
    put(f"{document_count(made.documents)} backed up")


@click.command()
@on_cluster(index=False)
@_directory
def restore(target: Target, directory: Path) -> None:
    """Write the backup in DIR into an empty cluster.

    The cluster must have no documents and no indexes. The whole backup is checked before anything is written.

    \b
    Example:
      pyshard restore monday
    """
    interruptible = interrupt_says(
        lambda: "interrupted; the cluster may have a part of the backup: begin again with an empty one"
    )
    with interruptible, progress("restored") as show:
        done = deferred_call.call(target, lambda client: backups.restore(client, directory, show))
    expired = f"; {done.expired} had expired" if done.expired else ""
    put(f"{document_count(done.documents)} restored{expired}")
    unreadable = UnreadableCount()
    for why in done.unreadable:
        unreadable.add(why)
    unreadable.count = done.left_out
    has = "it" if done.left_out == 1 else "them"
    unreadable.end(f"the backup still has {has}, and the others were restored")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, if that is a terminal.

    :param what: what is done to documents, such as ``restored``.
    :return: gives the function that moves the bar, called with the documents done and the documents in all.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from pyshard.cli.progress_bar import progress_bar

    with progress_bar(f"{{task.completed:,}} documents {what}") as bar:
        task = bar.add_task("", total=None)  # the total isn't known until the first documents are done
        yield lambda done, total: bar.update(task, completed=done, total=total)
