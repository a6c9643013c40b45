"""The config that `pyshard plan` proposes: each shard gets its share of the keyspace, and the least moves. Pure.

Rules:

- moves that are under way count as done;
- with fewer shards than there are, the last ones of the map give up all that they have, and leave;
- what can't be is a usage error that says what to give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

import attrs
import click

from pyshard.errors import shown_value
from pyshard.model.address_text import split_host_and_port
from pyshard.model.cluster_state import ClusterState
from pyshard.model.layout_change import layout_after
from pyshard.model.range_plan import proposed
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings

_WEIGHT = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_SIZE = re.compile(r"[1-9]\d{0,17}", re.ASCII)


@attrs.frozen
class NewShard:
    """A shard that a cluster is to get.

    :param name: the shard's.
    :param host: where clients reach it.
    :param port: its TCP port.
    :param limit: how many bytes it may store; None: as many as the first shard.
    """

    name: str
    host: str
    port: int
    limit: int | None = None


def proposed_map(
    state: ClusterState, shards: int | None, weights: Mapping[str, Fraction] | None, added: Sequence[NewShard]
) -> ShardMap:
    """The shards as the proposed config has them.

    :param shards: how many there are to be, with equal parts; None: all.
    :param weights: name → what a shard's part is in proportion to, 1 where it has none; None: equal parts.
    :raises click.UsageError: there can't be such shards.
    :raises ConfigError: two of them have one name or address.
    """
    known = state.map.shards
    ranges = layout_after({shard.name: shard.ranges for shard in known}, state.moves)
    first = known[0].limit
    new = [MapShard(one.name, (), one.limit or first, one.host, one.port) for one in added]
    chosen = _chosen([*known, *new], len(new), shards)
    unknown = sorted(set(weights or ()) - {shard.name for shard in chosen})
    if unknown:
        raise click.UsageError(f"--weights: there is no shard {shown_value(unknown[0])}; add it with --add")
    shares = {shard.name: (weights or {}).get(shard.name, Fraction(1)) for shard in chosen}
    if not any(shares.values()):
        raise click.UsageError("--weights: found 0 for all shards, expected one of them to be above 0")
    ShardMap([*known, *(attrs.evolve(shard, ranges=()) for shard in new)])  # refuses a name or address that is there
    layout = proposed(ranges, shares)
    return ShardMap(attrs.evolve(shard, ranges=layout[shard.name]) for shard in chosen)


def _chosen(shards: list[MapShard], new: int, wanted: int | None) -> list[MapShard]:
    """So many of the shards, of which the last ones are new."""
    count = len(shards) if wanted is None else wanted
    known = len(shards) - new
    if count > len(shards):
        missing = count - len(shards)
        raise click.UsageError(
            f"--shards {count}: the cluster has {known}{f', and {new} are added' if new else ''}; say where the other "
            f"{missing} {'is' if missing == 1 else 'are'}, with --add NAME=HOST:PORT"
        )
    if new and count < len(shards):
        raise click.UsageError(
            f"--shards {count}: the cluster has {known}, and {new} more with --add; give --shards {len(shards)}, or "
            "leave --add out"
        )
    return shards[:count]


def given_weights(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Fraction] | None:
    """The weights that an option gives: ``name=3,other=1``; None of one that wasn't given."""
    if value is None:
        return None
    found: dict[str, Fraction] = {}
    for pair in value.split(","):
        name, _, weight = pair.rpartition("=")
        if not name or not _WEIGHT.fullmatch(weight) or name in found:
            raise click.BadParameter(
                f"found {shown_value(pair)}, expected NAME=WEIGHT, each name once, with weights such as 3 or 0.5, and "
                "commas between",
                ctx,
                param,
            )
        found[name] = Fraction(weight)
    return found


def added_shards(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> list[NewShard]:
    """The shards that an option gives: ``NAME=HOST:PORT`` or ``NAME=HOST:PORT,SIZE``, once for each."""
    return [_added_shard(ctx, param, text) for text in value]


def _added_shard(ctx: click.Context, param: click.Parameter, text: str) -> NewShard:
    name, _, where = text.partition("=")
    address, comma, size = where.partition(",")
    found = split_host_and_port(address)
    if (
        1 <= len(name) <= settings.MAX_NAME
        and found is not None
        and found[0]
        and found[1] is not None
        and 1 <= found[1] <= 65535
        and (not comma or _SIZE.fullmatch(size))
    ):
        return NewShard(name, found[0], found[1], int(size) if comma else None)
    raise click.BadParameter(
        f"found {shown_value(text)}, expected NAME=HOST:PORT or NAME=HOST:PORT,SIZE, with SIZE in bytes", ctx, param
    )
