"""``--json``: what a subcommand prints, as one line of JSON (docs/cli.md has the fields)."""

from __future__ import annotations

import click
import msgspec

from pyshard.cli.standard_output import put

#: The option ``--json``; the subcommand is called with ``as_json``.
json_option = click.option("--json", "as_json", is_flag=True, help="Print it as one line of JSON.")


def put_json(found: object) -> None:
    """Print a value as one line of JSON."""
    put(msgspec.json.encode(found).decode())
