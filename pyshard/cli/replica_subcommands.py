"""The subcommand `replica`: shows the replicas of shards, and changes who leads and who belongs to them."""

from __future__ import annotations

import click

from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.config_sending import can_answer, interruptible
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.json_output import json_option, put_json
from pyshard.cli.move_jobs import ask
from pyshard.cli.replica_table import group_warnings, loss_lines, replica_table, replicas_json
from pyshard.cli.rich_output import show
from pyshard.cli.standard_output import flush, put
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import BadRequest, shown_value
from pyshard.protocol.listed_replicas import ListedGroup

_WITHIN = 15.0  # seconds: a switch may take five, and is taken back then


@click.group()
def replica() -> None:
    """Show the replicas of shards, or change one.

    They are added by the config: 'pyshard apply'.

    \b
    Examples:
      pyshard replica list
      pyshard replica switch 10.0.0.2:5050
    """


@replica.command("list")
@on_cluster(index=False)
@json_option
def list_replicas(target: Target, as_json: bool) -> None:
    """Show the replicas of all shards: who leads, and how far the others are.

    Exit code 1 when a replica is no member, doesn't answer, or waits for something, or when changes wait long for one.

    \b
    Examples:
      pyshard replica list
      pyshard replica list --json
    """
    groups = ask(target, LayoutClient.replicas)
    if as_json:
        put_json(replicas_json(groups))
    elif not groups:
        put("No shard has replicas.")
    else:
        show(replica_table(groups))
        for line in group_warnings(groups):
            put(line)
    if not all(group.whole for group in groups):
        click.get_current_context().exit(ExitCode.NEGATIVE)


@replica.command()
@on_cluster(index=False, deadline=_WITHIN)
@click.argument("place", metavar="REPLICA")
def switch(target: Target, place: str) -> None:
    """Have the member REPLICA lead its shard, in place of the present primary.

    REPLICA is its address, HOST:PORT. Nothing is lost; changes wait for well under a second. If it hasn't all within 5
    seconds, the primary goes on.

    \b
    Example:
      pyshard replica switch 10.0.0.2:5050
    """
    shard = _changed(target, place, "switch")
    put(f"{place} leads shard {shard}.")


@replica.command()
@on_cluster(index=False, deadline=_WITHIN)
@click.option("--force", is_flag=True, help="Also if the shard takes no changes then.")
@click.argument("place", metavar="REPLICA")
def remove(target: Target, place: str, force: bool) -> None:
    """Take REPLICA out of its shard; what it has is of no use then.

    REPLICA is its address, HOST:PORT. It comes back by 'pyshard apply' with a config that has it, so take it out of the
    config, too. The primary isn't removed: switch to another member first.

    \b
    Example:
      pyshard replica remove 10.0.0.3:5050
    """
    shard = _changed(target, place, "remove", force)
    put(f"{place} is no replica of shard {shard} any more; stop it, and take it out of the config.")


@replica.command()
@on_cluster(index=False, deadline=_WITHIN)
@click.option(
    "--accept-loss", is_flag=True, required=True, help="Lose what REPLICA lacks; without this nothing is done."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.argument("place", metavar="REPLICA")
def promote(target: Target, place: str, accept_loss: bool, yes: bool) -> None:
    """Have REPLICA lead its shard, though it may lack acknowledged changes.

    That is for when the primary and all members are gone for good: what REPLICA lacks is lost. Says what that may be,
    and asks. The old primary must be stopped, or cut off from all clients: while it runs, it may still answer them.

    \b
    Example:
      pyshard replica promote --accept-loss 10.0.0.3:5050
    """
    if not yes and not can_answer():
        raise click.UsageError(
            "there is no terminal to ask whether to go on; look at 'pyshard replica list', give --yes"
        )

    async def work(client: LayoutClient) -> str:
        group = _group_with(await client.replicas(), place)
        for line in loss_lines(group, place):
            put(line)
        flush()
        if not yes:
            with interruptible():
                if not click.confirm("Is the old primary stopped, and is that loss to be?", err=True):
                    raise CommandFailed("nothing was changed", ExitCode.NEGATIVE)
        await client.change_replicas(group.shard, place, "promote", accept_loss)
        return group.shard

    put(f"{place} leads shard {ask(target, work)}.")


def _changed(target: Target, address: str, change: str, force: bool = False) -> str:
    """Have a replica's group changed; the name of its shard."""

    async def work(client: LayoutClient) -> str:
        shard = _group_with(await client.replicas(), address).shard
        await client.change_replicas(shard, address, change, force)
        return shard

    return ask(target, work)


def _group_with(groups: list[ListedGroup], address: str) -> ListedGroup:
    """The group that has a replica.

    :raises CommandFailed: none has it.
    """
    found = [group for group in groups if address in [replica.address for replica in group.replicas]]
    if not found:
        known = ", ".join(replica.address for group in groups for replica in group.replicas)
        raise CommandFailed(
            str(
                BadRequest(f"replica: found {shown_value(address)}, expected one of {known or 'a shard with replicas'}")
            ),
            ExitCode.REFUSED,
        )
    return found[0]
