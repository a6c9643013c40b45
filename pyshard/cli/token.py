"""The subcommand `token`, which makes tokens."""

from __future__ import annotations

import secrets

import click

from pyshard.cli.common_options import refuse_outer
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.standard_output import put
from pyshard.security.tokens_and_roles import ROLES

_BYTES = 32  # of randomness: too many to guess


@click.command()
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    required=True,
    help="What the token allows: to read; also to write and create indexes; also to configure shards and drop indexes.",
)
@json_option
@click.pass_context
def token(context: click.Context, role: str, as_json: bool) -> None:
    """Print a new token, as a line for a token file.

    Only its owner may be able to read a token file, hence the umask below. The daemons of a cluster get all of its
    tokens, a client only its own. See the documentation, "Security", for how to exchange them.

    \b
    Example:
      (umask 077; for role in admin write read; do pyshard token --role $role; done > tokens)
    """
    refuse_outer(context)
    secret = secrets.token_urlsafe(_BYTES)
    if as_json:
        put_json({"role": role, "token": secret})
    else:
        put(f"{role} {secret}")
