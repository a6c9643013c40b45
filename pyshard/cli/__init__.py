"""The `pyshard` command. docs/cli.md tells what it does."""

from __future__ import annotations

from pyshard.cli.root import cli
from pyshard.cli.signals import Interrupt

__all__ = ["cli", "main"]


def main() -> None:
    """What the console script runs."""
    Interrupt().install()
    cli.main()
