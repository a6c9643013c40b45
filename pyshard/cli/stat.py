"""The subcommand `stat`: the state of each shard, as a table or as JSON."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.exit_codes import ExitCode
from pyshard.cli.json_output import put_json
from pyshard.cli.people_numbers import size, span
from pyshard.cli.rich_output import show
from pyshard.cli.standard_output import put
from pyshard.settings import settings

_RANGES = 5  # of a shard that the table shows
_SILENT = 1.0  # seconds from which on a replica's silence is shown


@click.command()
@on_cluster(index=False, deadline=settings.TIMEOUT)
@click.option("--json", "as_json", is_flag=True, help="Print everything that shards report, as one line of JSON.")
def stat(target: Target, as_json: bool) -> None:
    """Show the state of each shard. Exit code 1 when one can't be reached.

    The first row of a shard is its primary; its other replicas stand beneath.

    The deadline is 5 seconds by default, since the command waits that long for a shard that is down.

    \b
    Examples:
      pyshard stat
      pyshard stat --json | python3 -m json.tool
    """
    with target.connect() as app:
        found: dict[str, Any] = app.stat()
    if as_json:
        put_json(found)
    else:
        show(summary(found), table(found["shards"]))
        for shard in found["shards"]:
            for line in remarks(shard):
                put(line)
    if any("error" in shard for shard in found["shards"]):
        click.get_current_context().exit(ExitCode.NEGATIVE)


def summary(found: dict[str, Any]) -> Text:
    """The line above the table."""
    documents = sum(shard.get("documents", 0) for shard in found["shards"])
    indexes = ", ".join(found["indexes"]) or "none but the default one"
    return Text(f"Cluster {found['cluster']}, epoch {found['epoch']}, {documents:,} documents. Indexes: {indexes}.")


def table(shards: list[dict[str, Any]]) -> Table:
    """A row for each shard, and for each replica that doesn't lead. It fits 80 columns; `--json` gives all the rest."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("shard", "address", "ranges"):
        made.add_column(name, no_wrap=True)
    for name in ("documents", "used", "limit"):
        made.add_column(name, no_wrap=True, justify="right")
    made.add_column("state", no_wrap=True)
    for shard in shards:
        if "error" in shard:
            documents, used, state = "", "", "down"
        else:
            documents, used = f"{shard['documents']:,}", size(shard["bytes"])
            state = f"up {span(shard['uptime'])}"
        ranges, limit = ranges_text(shard["ranges"]), size(shard["limit"])
        cells = [shard["name"], shard["address"], ranges, documents, used, limit, state]
        made.add_row(*(Text(cell) for cell in cells))
        for replica in shard.get("replicas", []):
            if replica["address"] != shard["address"]:
                state = replica_state(shard, replica)
                made.add_row(*map(Text, ["  replica", replica["address"], "", "", "", "", state]))
    return made


def replica_state(shard: dict[str, Any], replica: dict[str, Any]) -> str:
    """What is known of a replica that doesn't lead: its role by the map, and how far it is by its primary.

    Where it lacks nothing, that is how old what it shows is, and how old that may be for reads there.
    """
    told = shard.get("replica")
    others = told.get("others") if isinstance(told, dict) else None
    other = next((each for each in others or [] if each.get("address") == replica["address"]), None)
    if other is None:
        return str(replica["role"])
    if other.get("needs_copy"):
        return f"{replica['role']}, needs a copy"
    if other.get("silent", 0.0) >= _SILENT:
        return f"{replica['role']}, silent {span(other['silent'])}"
    if behind := other.get("groups_behind", 0):
        return f"{replica['role']}, {behind:,} behind"
    stale, most = other.get("stale"), told.get("most_stale") if isinstance(told, dict) else None
    if stale is None or most is None:
        return str(replica["role"])
    return f"{replica['role']}, {stale:.1f}/{most:g} s old"


def remarks(shard: dict[str, Any]) -> list[str]:
    """What is to be said of a shard below the table."""
    lines = [f"{shard['name']}: {shard['error']}"] if "error" in shard else []
    replicas = shard.get("replicas", [])
    members = sum(replica["role"] != "learner" for replica in replicas)
    if members < len(replicas):
        lines.append(f"{shard['name']}: {members} of {len(replicas)} replicas have all documents")
    told = shard.get("replica")
    if isinstance(told, dict) and told.get("waits"):
        lines.append(f"{shard['name']}: {told['waits']}")
    return lines


def ranges_text(ranges: list[tuple[float, float]]) -> str:
    """A shard's ranges, one a line; of many the first ones."""
    lines = [f"[{start}, {end})" for start, end in ranges[:_RANGES]]
    more = [f"and {len(ranges) - _RANGES:,} more"] if len(ranges) > _RANGES else []
    return "\n".join([*lines, *more]) or "none"
