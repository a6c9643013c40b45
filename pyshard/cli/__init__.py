"""The `pyshard` command (docs/cli.md).

Rule: Ctrl-C ends the command with one line from its first moments on, so the rest is loaded after it is handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyshard.cli.module_loading import loading_modules
from pyshard.cli.signals import ExitOnInterrupt

if TYPE_CHECKING:
    from pyshard.cli.root_command import RootCommand

    cli: RootCommand

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command; the console script calls this."""
    ExitOnInterrupt().install()
    with loading_modules():
        from pyshard.cli.root_command import cli
        from pyshard.cli.standard_output import hold_streams
    hold_streams()
    cli.main()


def __getattr__(name: str) -> RootCommand:
    if name != "cli":
        raise AttributeError(f"module 'pyshard.cli' has no attribute {name!r}")
    from pyshard.cli.root_command import cli

    return cli
