"""The command itself: its subcommands, and how each of them ends.

Rules kept here: a failure is one line on standard error and an exit code of `pyshard.cli.exit_codes`, never a
traceback, unless it is a bug; an output that nobody reads any more ends the command quietly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from pyshard import __version__
from pyshard.cli import backups, indexes, load_cat, stat, token, up, verbs
from pyshard.cli.common_options import BOOTSTRAP_VARIABLE, common_options
from pyshard.cli.exit_codes import Code, End, code_of, one_line
from pyshard.cli.output import abandon, flush
from pyshard.errors import PyshardError


class Command(click.Group):
    """`click.Group`, with this command's way to end."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command, and end the process with its exit code."""
        prog_name = "pyshard"
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        code: object = Code.OK
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.Abort:
            code = _say("interrupted", Code.INTERRUPTED)
        except click.UsageError as error:
            where = f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
            code = _say(f"{error.format_message().rstrip('.')}{where}", Code.USAGE)
        except End as error:
            code = _say(str(error), error.code)
        except PyshardError as error:
            code = _say(str(error), code_of(error))
        except OSError as error:
            code = _say(f"{error.filename or 'input or output'}: {error.strerror or error}", Code.FAILED)
            abandon()
        sys.exit(code if isinstance(code, int) else Code.OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand, and see its output off."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                flush()
        except BrokenPipeError:
            abandon()
            return ctx.exit(Code.OUTPUT_CLOSED)


def _say(message: str, code: int) -> int:
    click.echo(one_line(message), err=True)
    return code


@click.group(
    cls=Command,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 no such key or unmet condition, 2 bad usage or input, 3 unavailable, 4 outcome "
    "unknown, 5 refused, 6 failed.",
)
@common_options(variable=BOOTSTRAP_VARIABLE)
@click.version_option(__version__, prog_name="pyshard")
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
        ctx.exit(Code.USAGE)


for _command in (
    up.up,
    verbs.read,
    verbs.item,
    verbs.write,
    verbs.pop,
    verbs.remove,
    verbs.has,
    verbs.touch,
    verbs.incr,
    indexes.keys,
    stat.stat,
    indexes.index,
    load_cat.load,
    load_cat.cat,
    backups.backup,
    backups.restore,
    token.token,
):
    cli.add_command(_command)
