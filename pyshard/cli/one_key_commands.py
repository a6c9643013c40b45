"""The subcommands on one key: read, item, pop, write, remove, has, touch and incr.

Rules:

- The result is written to standard output, as one line.
- No such key, or an unmet condition, is exit code 1, with a line on standard error that says which.
- DOC is JSON where that is possible, else a string (`pyshard.cli.document_text`); it may come from a file
  (`pyshard.cli.input_text`).
"""

from __future__ import annotations

from typing import cast

import click

from pyshard.blocking.raw_records import read_record
from pyshard.cli.common_options import Target, VerbCommand, on_cluster
from pyshard.cli.document_text import as_json
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.input_text import document_argument
from pyshard.cli.standard_output import put, put_as_it_is, put_bytes
from pyshard.cli.unreadable_records import put_removed
from pyshard.cli.verb_arguments import (
    if_version_option,
    integer,
    key_argument,
    no_such_key,
    read_from_option,
    ttl_option,
    ttl_or_never,
    ttl_seconds,
    unmet_version,
)
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.client_core.result_decoding import Record
from pyshard.errors import UnreadableRecord
from pyshard.model import document_encoding
from pyshard.model.document_encoding import Document
from pyshard.model.document_size import measure


@click.command(cls=VerbCommand)
@on_cluster()
@click.option("--raw", is_flag=True, help="The bytes that are stored, as they are; in hexadecimal on a terminal.")
@read_from_option
@key_argument
def read(target: Target, key: str, raw: bool, read_from: ReadFrom | None) -> None:
    """Print the document of KEY, as one line of JSON.

    Exit code 1, and nothing on standard output, when there is none. --raw gives a record that can't be read, too.

    \b
    Examples:
      pyshard read test
      pyshard read --index pages https://example.com/
      pyshard read --raw test | hexdump -C
    """
    with target.reading_from(read_from).connect() as app:
        if raw:
            record = read_record(app, key, target.index)
            if record is None:
                raise no_such_key(key)
            put_bytes(record)
            return
        found = app.read(key, target.index)
    if found is None:
        raise no_such_key(key)
    put_as_it_is(as_json(found["record"]))


@click.command(cls=VerbCommand)
@on_cluster()
@read_from_option
@key_argument
def item(target: Target, key: str, read_from: ReadFrom | None) -> None:
    """Print everything about KEY, as one line of JSON.

    This is its document, version, time to live, size and hash. "expiry" is in seconds since 1970 and "ttl" in seconds
    from now; both are null for a document that never expires.

    \b
    Example:
      pyshard item test | python3 -m json.tool
    """
    with target.reading_from(read_from).connect() as app:
        found = app.item(key, target.index)
    if found is None:
        raise no_such_key(key)
    put_as_it_is(as_json(cast("Document", found)))


@click.command(cls=VerbCommand)
@on_cluster()
@if_version_option
@key_argument
def pop(target: Target, key: str, if_version: int | None) -> None:
    """Remove KEY, and print the document that it had, as `read` does.

    A record that can't be read is removed, too, and printed as {"$record": base64}; exit code 7 then.

    \b
    Example:
      pyshard pop test
    """
    try:
        put_as_it_is(as_json(_popped(target, key, if_version)["record"]))
    except UnreadableRecord as error:
        put_removed(error)
        raise


@click.command(cls=VerbCommand)
@on_cluster()
@click.option("--if-absent", is_flag=True, help="Write nothing when the key exists; exit code 1 then.")
@if_version_option
@ttl_option
@key_argument
@document_argument
def write(target: Target, key: str, doc: Document, if_absent: bool, if_version: int | None, ttl: float | None) -> None:
    """Store DOC under KEY, and print its size.

    DOC is JSON if possible, else a string; a DOC that starts with { or [ must be JSON. With - it is read from standard
    input, and with --file from a file.

    \b
    Examples:
      pyshard write test 'hello world'
      pyshard write test1 '{"hello": "world"}'
      pyshard write answer 42
      pyshard write answer '"42"'          # the string
      curl -s https://example.com/data.json | pyshard write data -
      pyshard write data --file data.json
      pyshard write --if-absent --ttl 30 lock me
      pyshard write --if-version 1795300000000001 test 'hello again'
    """
    if if_absent and if_version is not None:
        raise click.UsageError(
            "--if-absent and --if-version: found both, expected one of them", click.get_current_context()
        )
    size = document_encoding.encode(doc)[1]
    with target.connect() as app:
        if if_absent:
            written = app.add(key, doc, target.index, ttl=ttl)
        elif if_version is not None:
            written = app.replace(key, doc, target.index, if_version=if_version, ttl=ttl)
        else:
            written = True
            app.write(key, doc, target.index, ttl=ttl)
    if not written and if_version is not None:
        raise unmet_version(key, if_version, "written")
    if not written:
        raise CommandFailed(f"key {as_json(key)} exists; nothing was written", ExitCode.NEGATIVE)
    put(str(size))


@click.command(cls=VerbCommand)
@on_cluster()
@if_version_option
@key_argument
def remove(target: Target, key: str, if_version: int | None) -> None:
    """Remove KEY, and print the size of the document that it had.

    \b
    Example:
      pyshard remove test
    """
    # Not by `Pyshard.remove`: it returns 0 for an empty list or object, as for no document.
    try:
        size = measure(_popped(target, key, if_version)["record"])
    except UnreadableRecord as error:
        try:
            size = document_encoding.size_in(error.record)
        except UnreadableRecord:
            put_removed(error)
            raise error from None
    put(str(size))


@click.command(cls=VerbCommand)
@on_cluster()
@read_from_option
@key_argument
def has(target: Target, key: str, read_from: ReadFrom | None) -> None:
    """Print true when KEY exists, else false (exit code 1).

    \b
    Example:
      pyshard has test && echo it is there
    """
    with target.reading_from(read_from).connect() as app:
        found = app.has(key, target.index)
    put_as_it_is(as_json(found))
    if not found:
        click.get_current_context().exit(ExitCode.NEGATIVE)


@click.command(cls=VerbCommand)
@on_cluster()
@if_version_option
@key_argument
@click.argument("seconds", callback=ttl_or_never, metavar="SECONDS|never")
def touch(target: Target, key: str, seconds: float | None, if_version: int | None) -> None:
    """Let the document of KEY expire after SECONDS, or never.

    Its version stays the same. Exit code 1 when there is no such key.

    \b
    Examples:
      pyshard touch session 1800
      pyshard touch session never
    """
    with target.connect() as app:
        found = app.touch(key, seconds, target.index, if_version=if_version)
    if not found:
        raise no_such_key(key) if if_version is None else unmet_version(key, if_version, "changed")


@click.command(cls=VerbCommand)
@on_cluster()
@click.option("--by", default="1", callback=integer, metavar="N", help="What to add; may be negative.  [default: 1]")
@click.option("--initial", default="0", callback=integer, metavar="N", help="The value of a missing key.  [default: 0]")
@click.option(
    "--ttl",
    type=float,
    callback=ttl_seconds,
    metavar="SECONDS",
    help="A key that was missing expires after this many seconds; one that exists keeps its time.  [default: never]",
)
@key_argument
def incr(target: Target, key: str, by: int, initial: int, ttl: float | None) -> None:
    """Add to the integer of KEY, atomically, and print the new value.

    \b
    Examples:
      pyshard incr visits
      pyshard incr stock --by -3 --initial 100
      pyshard incr --ttl 60 requests
    """
    with target.connect() as app:
        value = app.increment(key, by, initial, target.index, ttl=ttl)
    put_as_it_is(as_json(value))


def _popped(target: Target, key: str, if_version: int | None) -> Record:
    """Remove a key.

    :return: the document that it had.
    :raises CommandFailed: there was none, or its version is another one.
    :raises UnreadableRecord: it was removed, and can't be read.
    """
    with target.connect() as app:
        found = app.pop(key, target.index, if_version=if_version)
    if found is None:
        raise no_such_key(key) if if_version is None else unmet_version(key, if_version, "removed")
    return found
