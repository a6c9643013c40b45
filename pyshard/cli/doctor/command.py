"""The subcommand `doctor`: gathers, judges and shows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.doctor.findings import CheckVerdict, worst
from pyshard.cli.doctor.gathering import gathered
from pyshard.cli.doctor.report import painted, report_json, report_lines
from pyshard.cli.doctor.room_checks import findings_of
from pyshard.cli.exit_codes import ExitCode
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.standard_output import is_terminal, put_all

_WIDE = 200  # columns, where the output is no terminal


@click.command()
@on_cluster(index=False)
@click.option("--strict", is_flag=True, help="Exit code 1 for a warning, too.")
@click.option(
    "--secret",
    "secrets",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A token file or private key of this machine, such as that of a daemon. Can be given several times.",
)
@click.option(
    "--data-dir",
    "directories",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="A directory for data on this machine: how much room it has, and how long a sync takes. Can be given several "
    "times.",
)
@json_option
def doctor(
    target: Target, strict: bool, secrets: tuple[Path, ...], directories: tuple[Path, ...], as_json: bool
) -> None:
    """Check the cluster and this machine, and say what to do.

    Each line is PASS, WARN or FAIL; exit code 1 when one is FAIL. --deadline is that of the whole. Nothing is changed;
    --data-dir writes a file there for a moment.

    \b
    Examples:
      pyshard doctor
      pyshard doctor --strict --json
      pyshard doctor --secret /etc/pyshard/tokens --data-dir /var/lib/pyshard
    """
    findings = findings_of(gathered(target, dict(os.environ), secrets, directories))
    verdict = worst(findings)
    if as_json:
        put_json(report_json(findings, verdict))
    else:
        width = shutil.get_terminal_size().columns if is_terminal() else _WIDE
        colored = is_terminal() and not os.environ.get("NO_COLOR")
        put_all(report_lines(findings, width), painted if colored else str)
    if verdict is CheckVerdict.FAIL or (strict and verdict is CheckVerdict.WARN):
        click.get_current_context().exit(ExitCode.NEGATIVE)
