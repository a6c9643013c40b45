"""The everyday subcommands: get, add and replace on one key, where a key lies, and count and clear of an index.

Rules:

- Results and exit codes are as in `pyshard.cli.one_key_commands`.
- What removes all documents of an index is done only with --yes: the default index has no name to be typed.
- There is none for all documents: `cat` prints them.
"""

from __future__ import annotations

from typing import cast

import click

from pyshard.cli.common_options import Target, VerbCommand, on_cluster
from pyshard.cli.document_text import as_json
from pyshard.cli.exit_codes import CommandFailed, ExitCode, exit_code_of
from pyshard.cli.input_text import document_argument
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.progress_on_terminal import ProgressOnTerminal
from pyshard.cli.standard_output import document_count, put, put_as_it_is
from pyshard.cli.verb_arguments import (
    document,
    if_version_option,
    key_argument,
    no_such_key,
    read_from_option,
    ttl_option,
    unmet_version,
)
from pyshard.client_core.everyday_verbs import MISSING
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.errors import PartialFailure, PyshardError
from pyshard.model.document_encoding import Document
from pyshard.model.document_size import measure


@click.command(cls=VerbCommand)
@on_cluster()
@click.option(
    "--default",
    default=None,
    callback=document,
    metavar="DOC",
    help="Print this where there is no such key; with - it is read from standard input.",
)
@read_from_option
@key_argument
def get(target: Target, key: str, default: Document, read_from: ReadFrom | None) -> None:
    """Print the document of KEY as `read` does, or a default.

    \b
    Examples:
      pyshard get test
      pyshard get visits --default 0
    """
    given = click.get_current_context().get_parameter_source("default") is click.core.ParameterSource.COMMANDLINE
    with target.reading_from(read_from).connect() as app:
        found = app.get(key, default if given else MISSING, target.index)
    if found is MISSING:
        raise no_such_key(key)
    put_as_it_is(as_json(found))


@click.command(cls=VerbCommand)
@on_cluster()
@ttl_option
@key_argument
@document_argument
def add(target: Target, key: str, doc: Document, ttl: float | None) -> None:
    """Store DOC under KEY where there is none, and print its size.

    Exit code 1 when the key exists. DOC is as with `write`.

    \b
    Example:
      pyshard add --ttl 30 lock me
    """
    with target.connect() as app:
        added = app.add(key, doc, target.index, ttl=ttl)
    if not added:
        raise CommandFailed(f"key {as_json(key)} exists; nothing was written", ExitCode.NEGATIVE)
    put(str(measure(doc)))


@click.command(cls=VerbCommand)
@on_cluster()
@if_version_option
@ttl_option
@key_argument
@document_argument
def replace(target: Target, key: str, doc: Document, if_version: int | None, ttl: float | None) -> None:
    """Store DOC in place of the document of KEY, and print its size.

    Exit code 1 when there is no such key. DOC is as with `write`.

    \b
    Examples:
      pyshard replace test 'hello again'
      pyshard replace --if-version 1795300000000001 test 'hello again'
    """
    with target.connect() as app:
        replaced = app.replace(key, doc, target.index, if_version=if_version, ttl=ttl)
    if not replaced:
        raise no_such_key(key) if if_version is None else unmet_version(key, if_version, "written")
    put(str(measure(doc)))


@click.command(cls=VerbCommand)
@on_cluster()
@key_argument
def locate(target: Target, key: str) -> None:
    """Print where KEY lies, whether it exists or not, as one line of JSON.

    This is its hash, its slot, and the shard that owns it, with its address.

    \b
    Example:
      pyshard locate test
    """
    with target.connect() as app:
        found = app.locate(key, target.index)
    put_as_it_is(as_json(cast("Document", found)))


@click.command()
@on_cluster()
def count(target: Target) -> None:
    """Print how many documents the index has.

    One that has expired may still count for some seconds.

    \b
    Examples:
      pyshard count
      pyshard count --index pages
    """
    with target.connect() as app, ProgressOnTerminal("documents counted"):
        found = app.count(target.index)
    put(str(found))


@click.command()
@on_cluster()
@click.option("--yes", is_flag=True, help="Really remove them; without it, nothing is done.")
@json_option
def clear(target: Target, yes: bool, as_json: bool) -> None:
    """Remove all documents of the index, and print how many were removed. The index itself stays.

    `pyshard index drop` removes an index with its documents, and is faster.

    \b
    Example:
      pyshard clear --index pages --yes
    """
    name = _index_text(target.index)
    if not yes:
        raise click.UsageError(f"this removes all documents of {name}; add --yes to do it", click.get_current_context())
    with target.connect() as app, ProgressOnTerminal("documents removed so far"):
        try:
            removed = app.clear(target.index)
        except PyshardError as error:
            why = error.failed[0][1] if isinstance(error, PartialFailure) else error
            raise CommandFailed(
                f"{why} ({name} may have lost some documents; clear it again)", exit_code_of(why)
            ) from None
    if as_json:
        put_json({"documents": removed})
    else:
        put(f"{document_count(removed)} removed")


def _index_text(index: str | None) -> str:
    return "the default index" if index is None else f"the index {as_json(index)}"
