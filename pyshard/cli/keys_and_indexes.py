"""The subcommands `keys` and `index`: the keys of an index, and the indexes of the cluster."""

from __future__ import annotations

from contextlib import nullcontext

import click

from pyshard.cli.bulk_document_text import as_json_many
from pyshard.cli.common_options import Target, known_indexes, on_cluster
from pyshard.cli.document_text import as_json
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.progress_on_terminal import ProgressOnTerminal
from pyshard.cli.standard_output import is_terminal, put_all, put_as_it_is

_TOGETHER = 500  # keys that are written at a time


@click.command()
@on_cluster()
@click.option("--json", "quoted", is_flag=True, help="Each key as a JSON string; needed for keys with line breaks.")
def keys(target: Target, quoted: bool) -> None:
    """Print all keys, one a line, in the order of their hashes.

    \b
    Examples:
      pyshard keys | head
      pyshard keys --index pages | wc -l
    """
    found: list[str] = []
    count = 0
    bar = nullcontext() if is_terminal() else ProgressOnTerminal("keys written")
    with target.connect() as app, bar as shown:
        try:
            for key in app.keys(target.index):
                if not quoted and "\n" in key:
                    raise CommandFailed(f"key {as_json(key)} takes more than one line; use --json", ExitCode.USAGE)
                found.append(key)
                if len(found) >= _TOGETHER:
                    lines, found = found, []
                    put_as_it_is("\n".join(as_json_many(lines) if quoted else lines))
                    count += len(lines)
                    if shown is not None:
                        shown.show(count, None)
        finally:
            if found:
                put_as_it_is("\n".join(as_json_many(found) if quoted else found))


@click.group(no_args_is_help=False)
def index() -> None:
    """Create, drop or list indexes.

    An index is a separate set of keys; other commands work on it with --index NAME.
    """


@index.command()
@on_cluster(index=False)
@click.argument("name")
def create(target: Target, name: str) -> None:
    """Create the index NAME.

    \b
    Example:
      pyshard index create pages && pyshard write --index pages key doc
    """
    with target.connect() as app:
        app.create_index(name)


@index.command()
@on_cluster(index=False)
@click.argument("name", shell_complete=known_indexes)
def drop(target: Target, name: str) -> None:
    """Drop the index NAME, with all its documents.

    \b
    Example:
      pyshard index drop pages
    """
    with target.connect() as app:
        app.drop_index(name)


@index.command("list")
@on_cluster(index=False)
@json_option
def list_(target: Target, as_json: bool) -> None:
    """Print the names of all indexes but the default one, one a line.

    \b
    Example:
      pyshard index list
    """
    with target.connect() as app:
        names = app.indexes()
    if as_json:
        put_json(names)
    else:
        put_all(names)
