"""``--json``: what a subcommand prints, as one line of JSON (docs/cli.md has the fields)."""

from __future__ import annotations

import click
import msgspec

from pyshard.cli.standard_output import put
from pyshard.message_texts import json_escaped

#: The option ``--json``; the subcommand is called with ``as_json``.
json_option = click.option("--json", "as_json", is_flag=True, help="Print it as one line of JSON.")


def put_json(found: object) -> None:
    """Print a value as one line of JSON."""
    put_json_text(msgspec.json.encode(found))


def put_json_text(text: bytes) -> None:
    """Print JSON that stands on one line; escapes of JSON stand for what can't be printed."""
    put(json_escaped(text.decode()))
