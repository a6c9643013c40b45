"""The root command `pyshard`: it holds the subcommands, and turns the end of each into an exit code.

Rules:

- a failure is one line on standard error and an exit code of `pyshard.cli.exit_codes`;
- only a bug shows a traceback;
- the subcommands are listed in sections, as `pyshard.cli.subcommands` has them;
- the command ends quietly when nobody reads its output any more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from pyshard import __version__
from pyshard.cli.common_options import BOOTSTRAP_VARIABLE, common_options
from pyshard.cli.exit_codes import CommandFailed, ExitCode, exit_code_of
from pyshard.cli.shared_clients import shared_by
from pyshard.cli.standard_output import abandon, flush, tell
from pyshard.cli.subcommands import SECTIONS, SUBCOMMANDS, ListedCommand
from pyshard.compiled import IN_USE
from pyshard.errors import OutcomeUnknown, PyshardError


class RootCommand(click.Group):
    """A `click.Group` that ends with one line and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command, and end the process with its exit code."""
        if not standalone_mode:
            return super().main(args, "pyshard", complete_var, False, **extra)
        sys.exit(self.run(args, complete_var, **extra))

    def run(self, args: Sequence[str] | None = None, complete_var: str | None = None, **extra: Any) -> int:
        """Run the command; what went wrong is one line on standard error.

        :return: the exit code.
        """
        code: object = ExitCode.OK
        try:
            code = super().main(args, "pyshard", complete_var, False, **extra)
        except click.Abort as error:
            code = _end_with(_interrupted(error), ExitCode.INTERRUPTED)
        except click.UsageError as error:
            where = f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
            code = _end_with(f"{error.format_message().rstrip('.')}{where}", ExitCode.USAGE)
        except CommandFailed as error:
            code = _end_with(str(error), error.code)
        except PyshardError as error:
            code = _end_with(str(error), exit_code_of(error))
        except OSError as error:
            code = _end_with(f"{error.filename or 'input or output'}: {error.strerror or error}", ExitCode.FAILED)
            abandon()
        return code if isinstance(code, int) else ExitCode.OK

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands in sections."""
        widest = max(len(name) for names in SECTIONS.values() for name in names)
        for title, names in SECTIONS.items():
            with formatter.section(title):
                rows = [(name, self.commands[name].get_short_help_str(formatter.width - 6 - widest)) for name in names]
                formatter.write_dl([(name.ljust(widest), line) for name, line in rows])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is called, loaded; or, in a shell, what has it run in a process of its own."""
        name, found, rest = super().resolve_command(ctx, args)
        if not isinstance(found, ListedCommand):
            return name, found, rest
        loaded = found.load()
        if found.own_process and shared_by(ctx) is not None and not ctx.resilient_parsing:
            from pyshard.cli.shell.own_process import OwnProcess

            loaded = OwnProcess(loaded)
        return name, loaded, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand and flush its output."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                flush()
        except BrokenPipeError:
            abandon()
            return ctx.exit(ExitCode.OUTPUT_CLOSED)


def _interrupted(error: click.Abort) -> str:
    """The line for Ctrl-C. It says what is to be known of it, or which change may have happened."""
    interrupt = error.__cause__
    doubt = None if interrupt is None else interrupt.__cause__  # pyshard.blocking.interrupted_change
    about = str(doubt) if isinstance(doubt, OutcomeUnknown) else str(interrupt or "")
    return f"interrupted; {about}" if about else "interrupted"


def _end_with(message: str, code: int) -> int:
    """Write the last line on standard error; returns the exit code for `sys.exit`."""
    tell(message)
    return code


_BUILD = "with compiled code" if IN_USE else "in plain Python"


@click.group(
    cls=RootCommand,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 no such key or unmet condition, 2 bad usage or input, 3 unavailable, 4 outcome "
    "unknown, 5 refused, 6 failed, 7 a record can't be read.",
)
@common_options(variable=BOOTSTRAP_VARIABLE)
@click.version_option(__version__, prog_name="pyshard", message=f"%(prog)s, version %(version)s ({_BUILD})")
@click.pass_context
def cli(ctx: click.Context, /, **_: object) -> None:
    """A sharded key-value store: run a cluster, read and write its documents.

    \b
    Examples:
      pyshard up                                a cluster of two shards, until Ctrl-C
      pyshard write test '{"hello": "world"}'   in another terminal
      pyshard read test
      pyshard COMMAND --help                    more of them
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.USAGE)


for _subcommand in SUBCOMMANDS:
    cli.add_command(_subcommand)
