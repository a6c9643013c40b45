"""What the command lines of both daemons have in common: which version they are, and how a mistake in them ends.

Twisted's own way is to print all options, and behind them what is wrong, by the name of an option that was right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.python import usage

from pyshard import __version__
from pyshard.compiled import IN_USE
from pyshard.errors import ConfigError
from pyshard.server.signals_and_exit import end


class DaemonCommandLine(usage.Options):
    """A command line.

    :cvar command: the name by which twistd knows the daemon.
    """

    command = ""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Take what stands behind the daemon's name; a mistake ends the process with one line."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            text = str(error).rstrip(".")
            end(ConfigError(f"{text[:1].lower()}{text[1:]}; 'twistd {self.command} --help' lists what there is"))

    def opt_version(self) -> None:
        """Display pyshard's version and exit."""
        build = "with compiled code" if IN_USE else "in plain Python"
        sys.stdout.write(f"{self.command}, version {__version__} ({build})\n")
        raise SystemExit(0)
