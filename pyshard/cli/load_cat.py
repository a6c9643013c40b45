"""The subcommands `load` and `cat`: many documents in and out, one window at a time.

Rules:

- the operations of a window are in flight together;
- no pipe is read or written meanwhile, so a slow pipe can't use up their deadlines;
- only one window is held in memory, and of `cat` no more of its documents than a read has room for, whatever their size
  (`pyshard.client_core.walked_records`);
- lines are parsed and made many at a time (`pyshard.cli.bulk_document_text`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar, cast

import click

from pyshard.blocking import Pyshard
from pyshard.blocking.raw_records import key_pages, read_results
from pyshard.cli.cat_lines import record_lines
from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.document_text import TextError
from pyshard.cli.exit_codes import CommandFailed, ExitCode, exit_code_of
from pyshard.cli.input_text import InputFile
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.line_formats import WINDOW, format_line, parse_line, parse_lines, windows
from pyshard.cli.progress_on_terminal import ProgressOnTerminal
from pyshard.cli.signals import interrupt_says
from pyshard.cli.standard_output import document_count, is_terminal, put, put_lines_as_they_are
from pyshard.cli.unreadable_records import UnreadableCount
from pyshard.cli.whole_file import whole_file
from pyshard.client_core.bulk_input import EncodedDocument
from pyshard.client_core.result_decoding import Record
from pyshard.client_core.result_decoding import outcomes_of as decoded
from pyshard.client_core.walked_records import WalkedRecords
from pyshard.errors import IndexExists, PartialFailure, PyshardError, UnreadableRecord
from pyshard.model.document_encoding import Document
from pyshard.model.key_slots import Key
from pyshard.protocol.batch_answers import Result
from pyshard.protocol.batch_operations import Read
from pyshard.settings import settings

_T = TypeVar("_T")

_KEY_BYTES = 1024 * 1024  # characters of keys after which a window of `cat` takes no further page of them


@click.command()
@on_cluster()
@click.option("--jsonl", is_flag=True, help='Lines are {"key": …, "doc": …}.')
@click.option("--create", is_flag=True, help="Create the index of --index, if there is none.")
@json_option
@click.argument("file", type=InputFile())
def load(target: Target, jsonl: bool, create: bool, as_json: bool, file: BufferedReader) -> None:
    """Store the documents of FILE, or of standard input (-), one key|document a line.

    The first | of a line separates. The document is JSON if possible, else a string; one that starts with { or [ must
    be JSON. Empty lines are skipped. An error ends the load; documents written until then stay.

    \b
    Examples:
      printf '%s\\n' '1|test' '2|{"test": "test"}' '3|42' | pyshard load -
      pyshard load --index pages --create --jsonl pages.jsonl
    """
    if create and target.index is None:
        raise click.UsageError("--create needs --index NAME", click.get_current_context())
    with target.connect() as app:
        if create and target.index is not None:
            with suppress(IndexExists):
                app.create_index(target.index)
        loading = LoadRun(app, target.index, jsonl)
        interruptible = interrupt_says(
            lambda: f"interrupted; {document_count(loading.written)} written, and maybe some more"
        )
        with interruptible, _progress(file) as advance:
            loading.run(file, advance)
    if as_json:
        put_json({"documents": loading.written})
    else:
        put(f"{document_count(loading.written)} written")


class LoadRun:
    """One run of `load`.

    :param index: None for the default one.
    :param jsonl: whether lines are JSONL, else ``key|document``.
    :ivar written: how many documents the cluster has acknowledged.
    """

    def __init__(self, app: Pyshard, index: str | None, jsonl: bool) -> None:
        self._app = app
        self._index = index
        self._jsonl = jsonl
        self._line = 0
        self.written = 0

    def run(self, file: BufferedReader, advance: Callable[[int, int], None]) -> None:
        """Load a file.

        :param advance: called after each window with its length in bytes and with `written`.
        :raises CommandFailed: it says which line could not be stored, and why.
        """
        try:
            for lines in windows(file):
                self._store(lines)
                advance(sum(map(len, lines)) + len(lines), self.written)
        except TextError as error:
            self._line += 1
            raise self._ended(self._line, error.reason, ExitCode.USAGE) from None

    def _store(self, lines: list[bytes]) -> None:
        """Write the documents of a window; those before a line that can't be read are written, too."""
        first = self._line + 1
        numbers = [number for number, line in enumerate(lines, first) if line.strip()]
        refused: TextError | None = None
        writes: list[tuple[Key, Document | EncodedDocument]] | None
        writes = parse_lines([lines[number - first] for number in numbers], self._jsonl)
        if writes is None:
            writes = []
            for number in numbers:
                self._line = number
                try:
                    writes.append(parse_line(lines[number - first], self._jsonl))
                except TextError as error:
                    refused = error
                    break
        if refused is None:
            self._line = first + len(lines) - 1
        outcomes = outcomes_of(lambda: self._app.write_many(writes, self._index))
        failed = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, PyshardError)]
        self.written += len(writes) - len(failed)
        if failed:
            refusal = outcomes[failed[0]]
            assert isinstance(refusal, PyshardError)
            more = (
                f", as did {len(failed) - 1:,} of the next {len(writes) - 1 - failed[0]:,}" if len(failed) > 1 else ""
            )
            raise self._ended(numbers[failed[0]], f"{refusal}{more}", exit_code_of(refusal))
        if refused is not None:
            column = f", column {refused.column}" if refused.column else ""
            raise self._ended(self._line, refused.reason, ExitCode.USAGE, column)

    def _ended(self, number: int, why: str, code: ExitCode, column: str = "") -> CommandFailed:
        return CommandFailed(f"line {number}{column}: {why} ({document_count(self.written)} written)", code)


@click.command()
@on_cluster()
@click.option("--jsonl", is_flag=True, help='Write lines {"key": …, "doc": …}, for any key.')
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, which is whole at the end, or stays as it was. A new one is readable by you alone.",
)
def cat(target: Target, jsonl: bool, output: Path | None) -> None:
    """Write all documents to standard output, one key|document a line, as `load` reads them.

    A key with a | or a line break can't be written this way and ends the command; --jsonl writes every key. Records
    that can't be read are left out and counted on standard error, with exit code 7.

    \b
    Examples:
      pyshard cat -o documents.txt
      pyshard cat --index pages --jsonl | pyshard load --index copy --create --jsonl -
    """
    unreadable = UnreadableCount()
    with target.connect() as app:
        if output is None:
            with ProgressOnTerminal("documents written") if not is_terminal() else nullcontext() as bar:
                _cat(app, target.index, jsonl, unreadable, put_lines_as_they_are, bar)
        else:
            try:
                with whole_file(output, private=True) as file, ProgressOnTerminal("documents written") as bar:
                    _cat(app, target.index, jsonl, unreadable, file.write, bar)
            except OSError as error:
                why = f"--output: {output} can't be written ({error.strerror or error}); give another file"
                raise CommandFailed(why, ExitCode.FAILED) from None
    unreadable.end("the others were written")


def _cat(
    app: Pyshard,
    index: str | None,
    jsonl: bool,
    unreadable: UnreadableCount,
    write: Callable[[bytes], object],
    bar: ProgressOnTerminal | None,
) -> None:
    """Write all documents of an index."""
    total = app.count(index) if bar is not None and bar.shown else None
    pages = key_pages(app, index)
    records, done = WalkedRecords(WINDOW, settings.PAGE_KEYS), 0
    while window := next_window(pages, records.count):
        records.add(window)
        while keys := records.next_keys():
            records.took(read_results(app, keys, index))
            while portion := records.next_portion():
                _print_all(*portion, index, jsonl, unreadable, write)
                done += len(portion[0])
                if bar is not None:
                    bar.show(done, total)


def next_window(pages: Iterator[list[str]], count: int) -> list[str]:
    """The keys of some pages: of one, and then until there are so many keys, or 1 MiB of them; none at the end."""
    window: list[str] = []
    size = 0
    while len(window) < count and size < _KEY_BYTES and (page := next(pages, None)):
        window += page
        size += sum(map(len, page))
    return window


def _print_all(
    keys: list[str],
    results: list[object],
    index: str | None,
    jsonl: bool,
    unreadable: UnreadableCount,
    write: Callable[[bytes], object],
) -> None:
    """Print the documents of some keys, except those removed meanwhile, and those that can't be read."""
    place = 0
    while place < len(keys):
        lines, end = record_lines(keys, results, place, jsonl)
        if end == place:
            _print_one(keys[place], results[place], index, jsonl, unreadable, write)
            end += 1
        else:
            write(lines)
        place = end


def _print_one(
    key: str,
    result: object,
    index: str | None,
    jsonl: bool,
    unreadable: UnreadableCount,
    write: Callable[[bytes], object],
) -> None:
    """Print the document of a key, or count its record as one that can't be read.

    :raises CommandFailed: it can't be printed.
    """
    if isinstance(result, PyshardError):
        raise result
    [found] = decoded(Read(index or "", [key.encode()]), [0], (), [cast("Result", result)])
    if isinstance(found, UnreadableRecord):
        unreadable.add(str(found))
        return
    if found is None:
        return
    try:
        line = f"{format_line(key, cast('Record', found)['record'], jsonl)}\n".encode()
    except TextError as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None
    write(line)


def outcomes_of(bulk: Callable[[], Sequence[_T]]) -> Sequence[_T | PyshardError]:
    """The outcomes of a bulk verb: a result or an error of pyshard for each key, in their order."""
    try:
        return bulk()
    except PartialFailure as failure:
        return [cast("_T | PyshardError", outcome) for _, outcome in failure.outcomes]


@contextmanager
def _progress(file: BufferedReader) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, if that is a terminal and the lines aren't typed there.

    :return: gives the function that advances the bar, by bytes read and documents written.
    """
    bar = ProgressOnTerminal("documents written")
    if not bar.shown or file.isatty():
        yield lambda _size, _written: None
        return
    about = os.fstat(file.fileno())
    total = about.st_size if stat.S_ISREG(about.st_mode) else None
    done = 0

    def advance(size: int, written: int) -> None:
        nonlocal done
        done += size
        bar.show(done, total, written)

    bar.show(0, total, 0)
    with bar:
        yield advance
