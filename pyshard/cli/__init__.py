"""The `pyshard` command (docs/cli.md)."""

from __future__ import annotations

from pyshard.cli.root_command import cli
from pyshard.cli.signals import ExitOnInterrupt
from pyshard.cli.standard_output import hold_streams

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command; the console script calls this."""
    hold_streams()
    ExitOnInterrupt().install()
    cli.main()
