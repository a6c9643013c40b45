"""The subcommand `shell`: reads lines, each of which is a subcommand, and runs them over one connection.

Rules:

- a line is what follows ``pyshard`` on a command line, and does the same: there is no second implementation;
- an error is one line, and the shell goes on;
- on a terminal Ctrl-C cancels the line, or the command that runs, and Ctrl-D ends the shell;
- elsewhere lines are read until the end, and the exit code is that of the first command that failed.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import attrs
import click
from click.shell_completion import CompletionItem, ShellComplete

from pyshard import __version__
from pyshard.cli import root_command
from pyshard.cli.common_options import Target, given_options, on_cluster
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.shared_clients import SharedClients, refuse_in_shell
from pyshard.cli.shell.history_file import history_path
from pyshard.cli.shell.known_names import KnownNames
from pyshard.cli.shell.line_editing import Complete, LineEditor, system_readline
from pyshard.cli.shell.line_words import LineError, words_of
from pyshard.cli.signals import interrupt_raises
from pyshard.cli.standard_output import is_terminal, put, tell
from pyshard.clocks import steady_seconds
from pyshard.errors import PyshardError

_ENDS = ("exit", "quit")
_SAMPLE = 200  # keys
_AT_ONCE = 1.0  # seconds that a completion may take


@click.command()
@on_cluster()
@click.option("--no-history", is_flag=True, help="Neither read nor write the history.")
@click.option("--stop", is_flag=True, help="End at the first command that fails, with its exit code.")
@click.pass_context
def shell(context: click.Context, target: Target, no_history: bool, stop: bool) -> None:
    """Run many commands over one connection.

    A line is what stands behind `pyshard`: `read test`. On a terminal there are a history and completion of commands,
    indexes and keys; Ctrl-C cancels a line, and Ctrl-D or `exit` ends. Elsewhere lines come from standard input, and
    the exit code is that of the first one that failed.

    The history is in $XDG_STATE_HOME/pyshard/history, ~/.local/state by default, readable by you alone. Keys and
    documents that you type stand in it.

    \b
    Examples:
      pyshard shell
      pyshard shell --index pages --no-history
      printf '%s\\n' 'write test hello' 'read test' | pyshard shell --stop
    """
    refuse_in_shell(context)
    if sys.stdin is None:
        raise CommandFailed("standard input is closed", ExitCode.USAGE)
    shared = SharedClients(given_options(context))
    shared.names = known_names(attrs.evolve(target, clients=shared))
    try:
        if sys.stdin.isatty() and is_terminal():
            history = None if no_history else history_path(os.environ)
            code = _typed_lines(shared, LineEditor(system_readline(), completion(shared), history), stop)
        else:
            code = read_lines(shared, sys.stdin.buffer, stop)
    finally:
        shared.close()
    context.exit(code)


def read_lines(shared: SharedClients, file: BinaryIO, stop: bool) -> int:
    """Run the lines of a file.

    :return: the exit code of the first one that failed.
    """
    first = int(ExitCode.OK)
    for line in file:
        try:
            code = run_line(shared, line.decode("utf-8").removeprefix("\ufeff"))
        except UnicodeDecodeError:
            code = _refused("found a line that is no UTF-8")
        if code is None:
            break
        first = first or code
        if code == ExitCode.OUTPUT_CLOSED or (stop and code):
            return code
    return first


def run_line(shared: SharedClients, line: str) -> int | None:
    """Run the command of a line.

    :return: its exit code; None: the shell is to end.
    """
    try:
        words = words_of(line)
    except LineError as error:
        return _refused(str(error))
    if not words:
        return ExitCode.OK
    if words[0] in _ENDS:
        return None
    if words[0] == "help":
        words = [*words[1:], "--help"]
    return root_command.cli.run(words, obj=shared)


def completion(shared: SharedClients) -> Complete:
    """What completes a line: click, by the subcommands themselves."""
    found = ShellComplete(root_command.cli, {"obj": shared}, "pyshard", "")

    def complete(before: list[str], start: str) -> list[str]:
        own = [word for word in ("help", *_ENDS) if word.startswith(start)] if not before and start else []
        items = found.get_completions(before[1:] if before[:1] == ["help"] else before, start)
        return [*own, *(word for item in items for word in _words(item))]

    return complete


def known_names(target: Target) -> KnownNames:
    """The names that are completed: asked for with a short deadline; who isn't there gives none."""

    def sample(index: str | None) -> list[str]:
        try:
            with target.connect() as app:
                return list(islice(app.keys(index or target.index, deadline=_AT_ONCE), _SAMPLE))
        except PyshardError:
            return []

    def indexes() -> list[str]:
        try:
            with target.connect() as app:
                return app.indexes(deadline=_AT_ONCE)
        except PyshardError:
            return []

    return KnownNames(sample, indexes, steady_seconds)


def _typed_lines(shared: SharedClients, lines: LineEditor, stop: bool) -> int:
    put(f"pyshard {__version__}. A line is a command, such as: read KEY. Also: help, exit, Ctrl-D.")
    index = shared.given.get("index")
    prompt = f"pyshard {index}> " if index else "pyshard> "
    while True:
        sys.stdout.flush()
        with interrupt_raises():
            try:
                code = run_line(shared, lines.read(prompt))
            except EOFError:
                put("")
                return ExitCode.OK
            except KeyboardInterrupt:
                put("")
                continue
        if code is None:
            return ExitCode.OK
        if stop and code:
            return code


def _words(item: CompletionItem) -> list[str]:
    """What an item of click's stands for: a word, or the files that begin so."""
    if item.type not in ("file", "dir"):
        return [item.value]
    folder, _, start = item.value.rpartition("/")
    try:
        found = sorted(path for path in Path(folder or ("/" if "/" in item.value else ".")).iterdir())
    except OSError:
        return []
    before = item.value[: len(item.value) - len(start)]
    return [f"{before}{path.name}{'/' * path.is_dir()}" for path in found if path.name.startswith(start)]


def _refused(why: str) -> int:
    tell(why)
    return ExitCode.USAGE
