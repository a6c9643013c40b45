"""The `pyshard` command. docs/cli.md tells what it does."""

from __future__ import annotations

from pyshard.cli.group import cli
from pyshard.cli.signals import Interrupt

__all__ = ["cli", "main"]


def main() -> None:
    """What the console script runs."""
    Interrupt().install()
    cli.main()
