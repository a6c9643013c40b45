"""Tables and panels on standard output: what rich renders. It stands apart, since most subcommands put lines alone."""

from __future__ import annotations

from rich.console import Console, RenderableType

from pyshard.cli.standard_output import is_terminal, put

_WIDE = 200  # columns of a table, where the output is no terminal


def show(*renderables: RenderableType) -> None:
    """Write what rich renders, as wide as the terminal."""
    console = Console(highlight=False, markup=False, width=None if is_terminal() else _WIDE)
    with console.capture() as text:
        console.print(*renderables, sep="\n")
    put(text.get().rstrip("\n"))
