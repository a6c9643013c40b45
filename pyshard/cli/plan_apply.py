"""The subcommands `plan` and `apply`: what it takes to bring the cluster to a config, and bringing it there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click
import msgspec

from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.config_output import proposed_config, replaced_config, write_config
from pyshard.cli.config_sending import Sending, WantedMap, planned, put_plan, send, sending_options
from pyshard.cli.json_output import put_json
from pyshard.cli.layout_plan import plan_json
from pyshard.cli.move_jobs import ask
from pyshard.cli.proposed_config import NewShard, added_shards, given_weights, proposed_map
from pyshard.cli.standard_output import put
from pyshard.model import config_file
from pyshard.model.config_text import config_text

_file = click.Path(path_type=Path)


@click.command()
@on_cluster(index=False)
@click.option("--shards", type=click.IntRange(min=1), metavar="N", help="Propose equal parts for so many shards.")
@click.option(
    "--weights",
    metavar="NAME=W,…",
    callback=given_weights,
    help="Propose parts by weight. A shard that isn't named has weight 1; 0 takes all from it.",
)
@click.option(
    "--add",
    multiple=True,
    metavar="NAME=HOST:PORT[,SIZE]",
    callback=added_shards,
    help="A new shard, for a proposal. SIZE in bytes; that of the first shard by default. Can be given several times.",
)
@click.option("--output", type=_file, metavar="FILE", help="Write the proposed config to FILE, for `pyshard apply`.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the plan as one line of JSON, with the config if it is a proposal.",
)
@click.argument("file", metavar="[FILE]", required=False, type=_file)
def plan(
    target: Target,
    shards: int | None,
    weights: dict[str, Fraction] | None,
    add: list[NewShard],
    output: Path | None,
    as_json: bool,
    file: Path | None,
) -> None:
    """Show what would move to bring the cluster to a config.

    The config is that of FILE, or one that is proposed: in which the least moves. Nothing is changed. A proposed config
    has the addresses of the map. If --output names a config file, that is replaced, and what it says of the bootstrap,
    and of where daemons listen, is kept; else add "listen" where they listen elsewhere.

    \b
    Examples:
      pyshard plan shards.json
      pyshard plan --shards 3 --add c=10.0.0.3:5050 --output shards.json
      pyshard plan --weights big=3
    """
    wanted = _wanted(shards, weights, add, output, file)
    before = replaced_config(output)
    state, shards_wanted, _, found = ask(target, lambda client: planned(client, wanted))
    config = proposed_config(shards_wanted, before, target)
    if output is not None:
        write_config(output, config)
    if as_json:
        about: dict[str, object] = {"epoch": state.epoch, "step": state.step}
        if file is None:
            about["config"] = msgspec.json.decode(config_text(config))  # on one line
        put_json(about | plan_json(found))
        return
    put_plan(found)
    if output is not None:
        put(f"The config is in {output}: look at it, then 'pyshard apply {output}'.")


@click.command()
@on_cluster(index=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
@sending_options
@click.argument("file", metavar="FILE", type=_file)
def apply(target: Target, yes: bool, wait: bool, as_json: bool, file: Path) -> None:
    """Bring the cluster to the shards and ranges of the config FILE.

    Shows the plan and asks, unless --yes. What FILE says of the bootstrap doesn't count, nor does "listen". A shard
    that isn't in FILE gives up all that it has, and leaves the cluster when FILE is applied again.

    \b
    Examples:
      pyshard apply shards.json
      pyshard apply --yes --wait shards.json
    """
    shards = config_file.load(file).map
    send(target, lambda _state, _loads: shards, Sending(confirm=not yes, as_json=as_json, wait=wait))


def _wanted(
    shards: int | None,
    weights: dict[str, Fraction] | None,
    add: list[NewShard],
    output: Path | None,
    file: Path | None,
) -> WantedMap:
    """The shards of the file, or those of a proposal."""
    proposal = {"--shards": shards, "--weights": weights, "--add": add or None, "--output": output}
    given = [option for option, value in proposal.items() if value is not None]
    if file is not None:
        if given:
            raise click.UsageError(f"{given[0]} is for a config that is proposed; give it, or FILE")
        configured = config_file.load(file).map
        return lambda _state, _loads: configured
    if shards is not None and weights is not None:
        raise click.UsageError("--shards gives equal parts, and --weights others; give one of them")
    if not {"--shards", "--weights", "--add"} & {*given}:
        raise click.UsageError("give the config FILE, or --shards, --weights or --add, to have one proposed")
    return lambda state, _loads: proposed_map(state, shards, weights, add)
