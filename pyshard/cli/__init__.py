"""The `pyshard` command (docs/cli.md)."""

from __future__ import annotations

from pyshard.cli.root_command import cli
from pyshard.cli.signals import ExitOnInterrupt

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command; the console script calls this."""
    ExitOnInterrupt().install()
    cli.main()
