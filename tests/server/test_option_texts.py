"""What `--help` says of options: one paragraph, whatever lines its text has in the code."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from twisted.python import usage

from pyshard.bootstrap.plugin import BootstrapOptions
from pyshard.cli import cli
from pyshard.cli.subcommands import ListedCommand
from pyshard.shard.plugin import ShardOptions


@pytest.mark.parametrize("options", [ShardOptions, BootstrapOptions])
def test_texts_of_daemons_options(options: type[usage.Options]) -> None:
    """No option of a daemon has two blanks in a row, and each of pyshard's says something."""
    made = options()
    texts = {name.rstrip("="): made.docs[name.rstrip("=")].strip() for name in made.longOpt}
    assert "address" in texts
    assert {name: text for name, text in texts.items() if not text or "  " in text or "\n" in text} == {}
    assert "  " not in options.longdesc  # type: ignore[attr-defined]  # as usage.Options finds it
    # A line of the help is an option and its text, or goes on with one.
    lines = [line for line in made.getUsage(width=100).splitlines() if line.startswith("  ")]
    assert [line for line in lines if "  " in line[38:].strip()] == []


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, ListedCommand):
        command = command.load()
    yield name, command
    if isinstance(command, click.Group):
        for below, one in command.commands.items():
            yield from _commands(one, f"{name} {below}")


def test_texts_of_the_commands_options() -> None:
    """Nor has an option of `pyshard` or of a subcommand."""
    texts = {
        (name, parameter.name): (parameter.help or "").partition("  [")[0]  # click's own blanks, before a default
        for name, command in _commands(cli, "pyshard")
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }
    assert len(texts) > 50
    assert {place: text for place, text in texts.items() if "  " in text or "\n" in text} == {}
