"""A command of `pyshard shell` that runs in a process of its own: it needs a reactor, which runs once in a process.

Rules:

- it gets the options of the shell that it has;
- it imports nothing from the working directory, as the shell itself doesn't;
- Ctrl-C reaches it, and ends it alone;
- it can ask questions on the terminal; where the shell's commands come from elsewhere, its standard input is empty.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from pyshard.cli.exit_codes import ExitCode
from pyshard.cli.shared_clients import outer_options
from pyshard.cli.standard_output import flush


class OwnProcess(click.Command):
    """Stands for a subcommand, and runs it.

    :param command: the subcommand.
    """

    def __init__(self, command: click.Command) -> None:
        super().__init__(command.name)
        self._name = str(command.name)
        self._takes = {param.name for param in command.params}
        self._words: list[str] = []

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave all words as they are."""
        self._words = list(args)
        return []

    def invoke(self, ctx: click.Context) -> None:
        """Run it, and end with its exit code."""
        options = {name: value for name, value in outer_options(ctx).items() if name in self._takes}
        command = [sys.executable, "-P", "-m", "pyshard.cli", *option_words(options), self._name, *self._words]
        flush()
        with _interrupts_left_to_it():
            ended = subprocess.run(command, stdin=None if _typed() else subprocess.DEVNULL, check=False)
        code = ended.returncode
        ctx.exit(code if code >= 0 else ExitCode.FAILED)


def option_words(options: Mapping[str, object]) -> list[str]:
    """Options as they are typed.

    :param options: by the names of their parameters.
    """
    words = []
    for name, value in options.items():
        if value is None:
            continue
        texts = [f"{key}={there}" for key, there in value.items()] if isinstance(value, Mapping) else [str(value)]
        words += [f"--{name.replace('_', '-')}={text}" for text in texts]
    return words


def _typed() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def _interrupts_left_to_it() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # a handler, since what is ignored here would be ignored there, too
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
