"""The subcommands on one key."""

from __future__ import annotations

from typing import cast

import click
from twisted.internet.defer import Deferred

from pyshard.cli.common_options import Target, Verb, on_cluster
from pyshard.cli.document_text import TextError, as_json, parse
from pyshard.cli.exit_codes import Code, End
from pyshard.cli.output import put
from pyshard.client import Client, Record
from pyshard.client.raw_client import RawClient
from pyshard.client.records import condition_of, milliseconds
from pyshard.errors import InvalidArgument
from pyshard.model import documents
from pyshard.model.cluster_state import check_index_name
from pyshard.model.document_size import measure
from pyshard.model.documents import Document
from pyshard.model.keyspace import key_bytes


def _document(ctx: click.Context, param: click.Parameter, value: str) -> Document:
    try:
        return parse(value)
    except TextError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _integer(ctx: click.Context, param: click.Parameter, value: str) -> int:
    number = _document(ctx, param, value)
    if type(number) is not int:
        raise click.BadParameter(f"found {as_json(number)}, expected an integer", ctx, param)
    return number


def _version(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    try:
        condition_of(False, value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error).removeprefix("if_version: "), ctx, param) from None
    return value


def _ttl(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    try:
        milliseconds(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error).removeprefix("ttl: "), ctx, param) from None
    return value


def _ttl_or_never(ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    if value == "never":
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise click.BadParameter(f"found {value!r}, expected seconds, or never", ctx, param) from None
    return _ttl(ctx, param, seconds)


_if_version = click.option(
    "--if-version",
    type=int,
    callback=_version,
    metavar="N",
    help="Change nothing when the key's version (`pyshard item`) isn't N; exit code 1 then.",
)


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
def read(target: Target, key: str) -> None:
    """Print the document of KEY, as one line of JSON.

    Exit code 1, and nothing on standard output, when there is none.

    \b
    Examples:
      pyshard read test
      pyshard read --index pages https://example.com/
    """
    with target.connect() as app:
        found = app.read(key, target.index)
    if found is None:
        raise _missing(key)
    put(as_json(found["record"]))


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
def item(target: Target, key: str) -> None:
    """Print all that is known of KEY, as one line of JSON.

    That is its document, version, time to live, size and hash. "expiry" is in seconds since 1970 and "ttl" in seconds
    from now; both are null for a document that stays.

    \b
    Example:
      pyshard item test | python3 -m json.tool
    """
    with target.connect() as app:
        found = app.item(key, target.index)
    if found is None:
        raise _missing(key)
    put(as_json(cast("Document", found)))


@click.command(cls=Verb)
@on_cluster()
@_if_version
@click.argument("key")
def pop(target: Target, key: str, if_version: int | None) -> None:
    """Remove KEY, and print the document that it had, as `read` does.

    \b
    Example:
      pyshard pop test
    """
    put(as_json(_popped(target, key, if_version)["record"]))


@click.command(cls=Verb)
@on_cluster()
@click.option("--if-absent", is_flag=True, help="Write nothing when the key exists; exit code 1 then.")
@_if_version
@click.option(
    "--ttl",
    type=float,
    callback=_ttl,
    metavar="SECONDS",
    help="The document is gone after so many seconds.  [default: it stays]",
)
@click.argument("key")
@click.argument("doc", callback=_document)
def write(target: Target, key: str, doc: Document, if_absent: bool, if_version: int | None, ttl: float | None) -> None:
    """Store DOC under KEY, and print its size.

    DOC is JSON when it can be, else a string; what starts with { or [ must be JSON.

    \b
    Examples:
      pyshard write test 'hello world'
      pyshard write test1 '{"hello": "world"}'
      pyshard write answer 42
      pyshard write answer '"42"'          # the string
      pyshard write --if-absent --ttl 30 lock me
      pyshard write --if-version 1795300000000001 test 'hello again'
    """
    if if_absent and if_version is not None:
        raise click.UsageError(
            "--if-absent and --if-version: found both, expected one of them", click.get_current_context()
        )
    record, size = documents.encode(doc)
    index = "" if target.index is None else check_index_name(target.index)
    condition = condition_of(if_absent, if_version)

    def write_record(client: Client) -> Deferred[bool]:
        # Not by the verb: its 0, for nothing written, is also the size of an empty list or object.
        return RawClient(client).write(index, key_bytes(key), record, milliseconds(ttl), target.deadline, condition)

    with target.connect() as app:
        written = app.run(write_record)
    if not written:
        why = "exists" if if_absent else f"does not have version {if_version}"
        raise End(f"key {as_json(key)} {why}; nothing was written", Code.NEGATIVE)
    put(str(size))


@click.command(cls=Verb)
@on_cluster()
@_if_version
@click.argument("key")
def remove(target: Target, key: str, if_version: int | None) -> None:
    """Remove KEY, and print the size of the document that it had.

    \b
    Example:
      pyshard remove test
    """
    # `Pyshard.remove` answers 0 for an empty list or object as for nothing.
    put(str(measure(_popped(target, key, if_version)["record"])))


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
def has(target: Target, key: str) -> None:
    """Print true when KEY exists, else false (exit code 1).

    \b
    Example:
      pyshard has test && echo it is there
    """
    with target.connect() as app:
        found = app.has(key, target.index)
    put(as_json(found))
    if not found:
        click.get_current_context().exit(Code.NEGATIVE)


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
@click.argument("seconds", callback=_ttl_or_never, metavar="SECONDS|never")
def touch(target: Target, key: str, seconds: float | None) -> None:
    """Have the document of KEY gone after SECONDS, or never.

    The version stays. Exit code 1 when there is no such key.

    \b
    Examples:
      pyshard touch session 1800
      pyshard touch session never
    """
    with target.connect() as app:
        found = app.touch(key, seconds, target.index)
    if not found:
        raise _missing(key)


@click.command(cls=Verb)
@on_cluster()
@click.option("--by", default="1", callback=_integer, metavar="N", help="What is added; may be negative.  [default: 1]")
@click.option(
    "--initial", default="0", callback=_integer, metavar="N", help="What a missing key counts for.  [default: 0]"
)
@click.argument("key")
def incr(target: Target, key: str, by: int, initial: int) -> None:
    """Add to the integer of KEY, in one go, and print the new value.

    \b
    Examples:
      pyshard incr visits
      pyshard incr stock --by -3 --initial 100
    """
    with target.connect() as app:
        value = app.increment(key, by, initial, target.index)
    put(as_json(value))


def _popped(target: Target, key: str, if_version: int | None) -> Record:
    """What a key had that is now removed."""
    with target.connect() as app:
        found = app.pop(key, target.index, if_version=if_version)
    if found is None and if_version is not None:
        raise End(f"key {as_json(key)} does not have version {if_version}; nothing was removed", Code.NEGATIVE)
    if found is None:
        raise _missing(key)
    return found


def _missing(key: str) -> End:
    return End(f"there is no key {as_json(key)}", Code.NEGATIVE)
