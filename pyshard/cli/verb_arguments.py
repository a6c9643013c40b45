"""The arguments and options of `pyshard.cli.verbs`, as callbacks of click that check their text."""

from __future__ import annotations

import click

from pyshard.cli.document_text import TextError, as_json, parse
from pyshard.client_core.argument_checks import condition_of, milliseconds
from pyshard.errors import InvalidArgument
from pyshard.model.document_encoding import Document


def document(ctx: click.Context, param: click.Parameter, value: str) -> Document:
    """A document, from the text that `pyshard.cli.document_text.parse` reads."""
    try:
        return parse(value)
    except TextError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def integer(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """An integer of any size."""
    number = document(ctx, param, value)
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


#: The option ``--if-version`` of the verbs that change a key.
if_version_option = click.option(
    "--if-version",
    type=int,
    callback=version,
    metavar="N",
    help="Change nothing when the key's version (`pyshard item`) isn't N; exit code 1 then.",
)
