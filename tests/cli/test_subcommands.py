"""The list of subcommands, and the subcommands that it stands for."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from in_process_command import Commands

from pyshard.cli.subcommands import SECTIONS, SUBCOMMANDS, ListedCommand


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


def test_each_stands_in_one_section() -> None:
    """The help lists every subcommand, once."""
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(str(one.name) for one in SUBCOMMANDS)


def test_help_in_sections(pyshard: Commands) -> None:
    """The sections stand below the options, each with its subcommands in the order of use."""
    lines = pyshard("--help").out.splitlines()
    for title, names in SECTIONS.items():
        place = lines.index(f"{title}:")
        assert [line.split()[0] for line in lines[place + 1 : place + 1 + len(names)]] == names


def test_what_runs_in_a_process_of_its_own() -> None:
    """In a shell, what needs Twisted runs in a process of its own; all else runs in the shell's."""
    modules = sorted({one._module for one in SUBCOMMANDS if not one.own_process})
    load = "import sys\n" + "\n".join(f"import pyshard.cli.{module}" for module in modules)
    subprocess.run([sys.executable, "-c", f"{load}\nassert 'twisted' not in sys.modules"], timeout=60, check=True)
