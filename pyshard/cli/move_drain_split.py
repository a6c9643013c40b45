"""The subcommands `move`, `drain` and `split`: the cluster as it is, but for some ranges that go to another shard."""

from __future__ import annotations

import math
from collections.abc import Callable

import click

from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.config_sending import Sending, WantedMap, send, sending_options
from pyshard.errors import shown_value
from pyshard.model.key_slots import hash_to_slot
from pyshard.model.layout_change import layout_after, with_other_ranges
from pyshard.model.range_choice import drain_transfers, range_transfers, split_transfers
from pyshard.model.range_plan import Layout, Transfer
from pyshard.model.transfer_check import ShardLoad


def given_range(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """The slots of ``START:END``, two hashes."""
    first, _, last = value.partition(":")
    start, end = _slot(first), _slot(last)
    if start is None or end is None or start >= end:
        raise click.BadParameter(
            f"found {shown_value(value)}, expected START:END, two hashes with 0 <= START < END <= 1, such as 0.25:0.5",
            ctx,
            param,
        )
    return start, end


def given_hash(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The slot of a hash; None of an option that wasn't given."""
    slot = None if value is None else _slot(value)
    if value is not None and slot is None:
        raise click.BadParameter(f"found {shown_value(value)}, expected a hash, a number from 0 to 1", ctx, param)
    return slot


@click.command()
@on_cluster(index=False)
@click.option("--to", "taker", required=True, metavar="SHARD", help="The shard that gets it.")
@sending_options
@click.argument("range_", metavar="RANGE", callback=given_range)
def move(target: Target, range_: tuple[int, int], taker: str, wait: bool, as_json: bool) -> None:
    """Move the documents of RANGE to another shard.

    RANGE is START:END, two hashes; END isn't part of it. Several shards may have something of it: there is a move from
    each.

    \b
    Examples:
      pyshard move 0.25:0.5 --to c
      pyshard move 0.9:1 --to a --wait
    """
    wanted = _with_transfers(lambda layout, _: range_transfers(layout, (range_,), taker))
    send(target, wanted, Sending(confirm=False, as_json=as_json, wait=wait))


@click.command()
@on_cluster(index=False)
@click.option(
    "--to",
    "takers",
    multiple=True,
    metavar="SHARD",
    help="A shard that gets a part of it; all others by default. Can be given several times.",
)
@sending_options
@click.argument("shard")
def drain(target: Target, shard: str, takers: tuple[str, ...], wait: bool, as_json: bool) -> None:
    """Move all that SHARD has to other shards.

    Each of them gets an equal part of it. SHARD stays in the cluster, without ranges, until a config without it is
    applied.

    \b
    Examples:
      pyshard drain c
      pyshard drain c --to a --wait
    """
    wanted = _with_transfers(lambda layout, _: drain_transfers(layout, shard, takers))
    send(target, wanted, Sending(confirm=False, as_json=as_json, wait=wait))


@click.command()
@on_cluster(index=False)
@click.option("--to", "taker", required=True, metavar="SHARD", help="The shard that gets it.")
@click.option(
    "--at",
    metavar="HASH",
    callback=given_hash,
    help="What lies behind HASH goes; by default half of the documents, or half of the keyspace if there are none.",
)
@sending_options
@click.argument("shard")
def split(target: Target, shard: str, taker: str, at: int | None, wait: bool, as_json: bool) -> None:
    """Move half of what SHARD has to another shard.

    \b
    Examples:
      pyshard split a --to c
      pyshard split a --to c --at 0.3
    """
    wanted = _with_transfers(lambda layout, loads: split_transfers(layout, shard, taker, at, loads.get(shard)))
    send(target, wanted, Sending(confirm=False, as_json=as_json, wait=wait))


def _with_transfers(choose: Callable[[Layout, dict[str, ShardLoad]], list[Transfer]]) -> WantedMap:
    """The cluster as it is, but for some transfers."""
    return lambda state, loads: with_other_ranges(
        state, choose(layout_after({shard.name: shard.ranges for shard in state.map.shards}, state.moves), loads)
    )


def _slot(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return hash_to_slot(value) if math.isfinite(value) and 0 <= value <= 1 else None
