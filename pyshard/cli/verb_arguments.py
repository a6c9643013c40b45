"""What `pyshard.cli.one_key_commands` and `pyshard.cli.everyday_commands` share: arguments, options and refusals.

Rule: the text of an argument is checked by a callback of click, before anything is connected.
"""

from __future__ import annotations

import click

from pyshard.cli.common_options import known_keys
from pyshard.cli.document_text import TextError, as_json, parse
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.input_text import read_document, standard_input
from pyshard.client_core.argument_checks import condition_of, milliseconds
from pyshard.errors import InvalidArgument
from pyshard.model.document_encoding import Document


def document(ctx: click.Context, param: click.Parameter, value: str | None) -> Document:
    """A document, from the text that `pyshard.cli.document_text.parse` reads; None of an option that wasn't given.

    Of ``-`` it is read from standard input.
    """
    if value is None:
        return None
    try:
        return read_document(standard_input()) if value == "-" else parse(value)
    except TextError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def integer(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """An integer of any size."""
    try:
        number = parse(value)
    except TextError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if type(number) is not int:
        raise click.BadParameter(f"found {as_json(number)}, expected an integer", ctx, param)
    return number


def version(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """The version that a key must have."""
    try:
        condition_of(False, value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error).removeprefix("if_version: "), ctx, param) from None
    return value


def ttl_seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A time to live in seconds, within the limits of the client."""
    try:
        milliseconds(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error).removeprefix("ttl: "), ctx, param) from None
    return value


def ttl_or_never(ctx: click.Context, param: click.Parameter, value: str) -> float | None:
    """A time to live in seconds, or None for the word ``never``."""
    if value == "never":
        return None
    try:
        seconds = float(value)
    except ValueError:
        raise click.BadParameter(f"found {value!r}, expected seconds, or never", ctx, param) from None
    return ttl_seconds(ctx, param, seconds)


def no_such_key(key: str) -> CommandFailed:
    """The end of a subcommand whose key is missing."""
    return CommandFailed(f"there is no key {as_json(key)}", ExitCode.NEGATIVE)


def unmet_version(key: str, if_version: int, done: str) -> CommandFailed:
    """The end of a subcommand whose key doesn't have the version that it wants.

    :param done: what wasn't done, such as "written".
    """
    return CommandFailed(
        f"key {as_json(key)} does not have version {if_version}; nothing was {done}", ExitCode.NEGATIVE
    )


#: The argument KEY.
key_argument = click.argument("key", shell_complete=known_keys)

#: The option ``--read-from`` of the verbs that only read.
read_from_option = click.option(
    "--read-from",
    type=click.Choice(["primary", "nearest"]),
    help="With nearest, the replica that answers soonest is read at: what it gives may be a little old, by twice the "
    "lease at the most.  [default: primary]",
)

#: The option ``--ttl`` of the verbs that store a document.
ttl_option = click.option(
    "--ttl",
    type=float,
    callback=ttl_seconds,
    metavar="SECONDS",
    help="The document expires after this many seconds.  [default: never]",
)

#: The option ``--if-version`` of the verbs that change a key.
if_version_option = click.option(
    "--if-version",
    type=int,
    callback=version,
    metavar="N",
    help="Change nothing when the key's version (`pyshard item`) isn't N; exit code 1 then.",
)
