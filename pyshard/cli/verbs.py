"""The subcommands on one key, on the list of keys, and on indexes."""

from __future__ import annotations

import click

from pyshard import documents
from pyshard.cli.exits import Code, End
from pyshard.cli.options import Target, Verb, on_cluster
from pyshard.cli.output import put
from pyshard.cli.text import TextError, as_json, parse
from pyshard.client import Record
from pyshard.documents import Document


def _document(ctx: click.Context, param: click.Parameter, value: str) -> Document:
    try:
        return parse(value)
    except TextError as error:
        raise click.BadParameter(str(error), ctx, param) from None


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
        _show(app.read(key, target.index), key)


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
def pop(target: Target, key: str) -> None:
    """Remove KEY, and print the document that it had, as `read` does.

    \b
    Example:
      pyshard pop test
    """
    with target.connect() as app:
        _show(app.pop(key, target.index), key)


def _show(found: Record | None, key: str) -> None:
    if found is None:
        raise _missing(key)
    put(as_json(found["record"]))


@click.command(cls=Verb)
@on_cluster()
@click.option("--if-absent", is_flag=True, help="Write nothing when the key exists; exit code 1 then.")
@click.argument("key")
@click.argument("doc", callback=_document)
def write(target: Target, key: str, doc: Document, if_absent: bool) -> None:
    """Store DOC under KEY, and print its size.

    DOC is JSON when it can be, else a string; what starts with { or [ must be JSON.

    \b
    Examples:
      pyshard write test 'hello world'
      pyshard write test1 '{"hello": "world"}'
      pyshard write answer 42
      pyshard write answer '"42"'          # the string
      pyshard write --if-absent lock me
    """
    with target.connect() as app:
        # An empty list or object has the size 0, which also says that the key was there.
        absent = if_absent and documents.measure(doc) == 0 and not app.has(key, target.index)
        size = app.write(key, doc, target.index, if_absent=if_absent)
    if if_absent and not size and not absent:
        raise End(f"key {as_json(key)} exists; nothing was written", Code.NEGATIVE)
    put(str(size))


@click.command(cls=Verb)
@on_cluster()
@click.argument("key")
def remove(target: Target, key: str) -> None:
    """Remove KEY, and print the size of the document that it had.

    \b
    Example:
      pyshard remove test
    """
    with target.connect() as app:
        found = app.pop(key, target.index)  # `remove` answers 0 for an empty list or object as for nothing
    if found is None:
        raise _missing(key)
    put(str(documents.measure(found["record"])))


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
    with target.connect() as app:
        for key in app.keys(target.index):
            if not quoted and "\n" in key:
                raise End(f"key {as_json(key)} takes more than one line; use --json", Code.USAGE)
            put(as_json(key) if quoted else key)


@click.group(no_args_is_help=False)
def index() -> None:
    """Create, drop or list indexes.

    An index is a set of keys of its own; --index NAME has the other commands work on it.
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
@click.argument("name")
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
def list_(target: Target) -> None:
    """Print the names of all indexes but the default one, one a line.

    \b
    Example:
      pyshard index list
    """
    with target.connect() as app:
        for name in app.indexes():
            put(name)


def _missing(key: str) -> End:
    return End(f"there is no key {as_json(key)}", Code.NEGATIVE)
