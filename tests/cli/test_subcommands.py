"""The list of subcommands, and the subcommands that it stands for."""

from __future__ import annotations

import click
import pytest

from pyshard.cli.subcommands import SUBCOMMANDS, ListedCommand


@pytest.mark.parametrize("listed", SUBCOMMANDS, ids=lambda one: one.name)
def test_the_list_says_what_the_help_says(listed: ListedCommand) -> None:
    """The line of ``pyshard --help`` is the one that click makes of the subcommand's own help, whatever the width."""
    found = listed.load()
    assert found.name == listed.name
    for width in (20, 45, 64, 80, 200):
        assert listed.get_short_help_str(width) == found.get_short_help_str(width)


def test_the_list_is_whole() -> None:
    """Every subcommand that a module of the list defines stands in the list."""
    listed = {id(one.load()) for one in SUBCOMMANDS}
    within = {id(one) for found in map(ListedCommand.load, SUBCOMMANDS) if isinstance(found, click.Group)
              for one in found.commands.values()}  # fmt: skip
    for one in SUBCOMMANDS:
        for value in vars(__import__(f"pyshard.cli.{one._module}", fromlist=["*"])).values():
            assert not isinstance(value, click.Command) or id(value) in listed | within
