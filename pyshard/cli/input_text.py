"""What the command reads: files and standard input, and the text that is in them.

Rules:

- ``-`` is standard input; where it is closed, that is said in one line, as of a file that can't be opened;
- text is UTF-8. A byte order mark at its beginning, as Windows programs write it, isn't part of it;
- UTF-16, which the same programs call Unicode, is named;
- what is read as one document has a bounded length, and one line end behind it doesn't count.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, BinaryIO

import click

from pyshard.cli.document_text import TextError, parse
from pyshard.cli.line_formats import LONGEST_LINE, text_of
from pyshard.cli.shared_clients import shared_by
from pyshard.model.document_encoding import Document

_CLOSED = "standard input is closed"
_IN_SHELL = "standard input has the lines of this shell; use a file"


class InputFile(click.File):
    """A parameter that names a file to be read, or ``-`` for standard input."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open it."""
        if value == "-" and ctx is not None and shared_by(ctx) is not None:
            self.fail(_IN_SHELL, param, ctx)
        if value == "-" and sys.stdin is None:
            self.fail(_CLOSED, param, ctx)
        return super().convert(value, param, ctx)


def read_document(file: BinaryIO) -> Document:
    """The document of a file.

    :raises TextError: it holds none.
    """
    content = file.read(LONGEST_LINE + 1)
    if len(content) > LONGEST_LINE:
        raise TextError(f"found more than {LONGEST_LINE:,} bytes")
    text = text_of(content.removeprefix(codecs.BOM_UTF8))
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise TextError('found nothing, expected a document; the empty string is written ""')
    return parse(text)


def standard_input() -> BinaryIO:
    """Standard input, for a document.

    :raises TextError: it is closed, or has the lines of a shell.
    """
    if shared_by(click.get_current_context()) is not None:
        raise TextError(_IN_SHELL)
    if sys.stdin is None:
        raise TextError(_CLOSED)
    return sys.stdin.buffer


def document_argument(function: Callable[..., None]) -> Callable[..., None]:
    """Give a subcommand the argument DOC and the option --file, of which one is wanted; it is called with ``doc``."""

    @click.option(
        "--file", type=InputFile(), metavar="FILE", help="Read DOC from FILE; from standard input, if that is -."
    )
    @click.argument("doc", required=False)
    @wraps(function)
    def with_document(*arguments: Any, doc: str | None, file: BinaryIO | None, **options: Any) -> None:
        context = click.get_current_context()
        if doc is not None and file is not None:
            raise click.UsageError("DOC and --file: found both, expected one of them", context)
        if doc is None and file is None:
            raise click.UsageError("Missing argument 'DOC', or --file FILE", context)
        name = "'DOC'" if file is None else "'--file'"
        try:
            found = read_document(file or standard_input()) if doc is None or doc == "-" else parse(doc)
        except TextError as error:
            raise click.BadParameter(str(error), context, param_hint=name) from None
        except OSError as error:
            raise click.BadParameter(f"can't be read: {error.strerror or error}", context, param_hint=name) from None
        function(*arguments, doc=found, **options)

    return with_document
