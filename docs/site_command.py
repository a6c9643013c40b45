"""The `pyshard` command for sphinx-click: all subcommands are loaded, and examples keep their columns."""

from __future__ import annotations

from copy import copy
from itertools import groupby

from pyshard.cli import cli
from pyshard.cli.subcommands import ListedCommand

command = copy(cli)
command.commands = {name: one.load() if isinstance(one, ListedCommand) else one for name, one in cli.commands.items()}


def keep_columns(app: object, context: object, lines: list[str]) -> None:
    """Show the examples of a command as a terminal does: sphinx-click makes a sentence of each of their lines."""
    shown: list[str] = []
    for are_examples, group in groupby(lines, lambda line: line.startswith("| ")):
        block = list(group)
        shown += ["::", "", *(f"    {line[2:]}" for line in block), ""] if are_examples else block
    lines[:] = shown
