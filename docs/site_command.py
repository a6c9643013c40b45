"""The `pyshard` command with all of its subcommands loaded, for sphinx-click, which looks at them without calling them."""

from __future__ import annotations

from copy import copy

from pyshard.cli import cli
from pyshard.cli.subcommands import ListedCommand

command = copy(cli)
command.commands = {name: one.load() if isinstance(one, ListedCommand) else one for name, one in cli.commands.items()}
