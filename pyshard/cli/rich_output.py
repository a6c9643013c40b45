"""Tables and panels on standard output: what rich renders. It stands apart, since most subcommands put lines alone.

Rule: whatever rich draws for the command is `Printable`, since names, addresses and reasons come from daemons. So none
of them commands the terminal, or turns the order of letters round; escapes stand there, as in lines
(`pyshard.cli.standard_output`).
"""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment

from pyshard.cli.standard_output import is_terminal, put_as_it_is
from pyshard.message_texts import escaped

_WIDE = 200  # columns of a table, where the output is no terminal


class Printable:
    """What rich renders, with printable characters alone in its texts. Colors are rich's own.

    :param renderables: one below the other.
    """

    def __init__(self, *renderables: RenderableType) -> None:
        self._renderables = Group(*renderables)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich draws."""
        for segment in console.render(self._renderables, options):
            text = segment.text
            if segment.control or text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(escaped, text.split("\n"))), segment.style)


def show(*renderables: RenderableType) -> None:
    """Write what rich renders, as wide as the terminal."""
    console = Console(highlight=False, markup=False, width=None if is_terminal() else _WIDE)
    with console.capture() as text:
        console.print(Printable(*renderables))
    put_as_it_is(text.get().rstrip("\n"))
