"""Replicas as `pyshard replica list` and `stat` show them: rows of a table, lines, JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pyshard.cli.people_numbers import span
from pyshard.protocol.listed_replicas import ListedGroup, ListedReplica


def replicas_json(groups: Sequence[ListedGroup]) -> dict[str, object]:
    """The groups as JSON has them: as the bootstrap lists them (docs/protocol.md, "ListReplicas")."""
    return {"groups": list(groups)}


def replica_table(groups: Sequence[ListedGroup]) -> Table:
    """A row for each replica."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("shard", "replica", "role"):
        made.add_column(name, no_wrap=True)
    for name in ("ballot", "group", "behind"):
        made.add_column(name, no_wrap=True, justify="right")
    made.add_column("state", no_wrap=True)
    for group in groups:
        for number, replica in enumerate(group.replicas):
            made.add_row(Text(group.shard if number == 0 else ""), *map(Text, _cells(replica)))
    return made


def _cells(replica: ListedReplica) -> list[str]:
    if replica.seconds is None:
        return [replica.address, replica.role, "", "", "", "down"]
    ballot, sequence = (f"{number:,}" for number in (replica.position.ballot, replica.position.sequence))
    behind = "?" if replica.behind is None else f"{replica.behind:,}"
    if not replica.answers:
        state = f"down, last heard {span(replica.seconds)} ago"
    elif replica.waits:
        state = "waits"
    else:
        again = f", time {replica.copies:,}" if replica.copied_in_vain else ""
        state = "up" if replica.complete else f"is being copied to{again}"
    return [replica.address, replica.role, ballot, sequence, behind, state]


def group_warnings(groups: Sequence[ListedGroup]) -> list[str]:
    """What is to be said below the table."""
    lines = []
    for group in groups:
        members = len(group.members)
        if members < group.least:
            lines.append(
                f"{group.shard}: takes no changes: {members} of {len(group.replicas)} replicas have all documents, and "
                f"min_replicas is {group.least}"
            )
        elif members < len(group.replicas):
            lines.append(f"{group.shard}: {members} of {len(group.replicas)} replicas have all documents")
        lines += [f"{group.shard}: {each.slow}" for each in group.replicas if each.slow]
        for each in group.replicas:
            lines += [f"{group.shard}, {each.address}: {why}" for why in (each.waits, each.copied_in_vain) if why]
    return lines


def loss_lines(group: ListedGroup, address: str) -> list[str]:
    """What may be lost when a replica leads that may lack something."""
    own = next(replica for replica in group.replicas if replica.address == address)
    primary = group.primary
    lines = [
        f"Replica {address} of shard {group.shard} is to lead, and all others become copies of it.",
        "Whatever it lacks of what was acknowledged is lost for good, on all replicas, also where the others have it.",
    ]
    if primary is None or primary.seconds is None or own.seconds is None:
        lines.append(
            "How much that is can't be known: this bootstrap has never heard of the primary, or of the replica."
        )
    else:
        lacking = max(0, primary.position.sequence - own.position.sequence)
        lines.append(
            f"The primary {primary.address} was last heard {span(primary.seconds)} ago. By then it had {lacking:,} "
            "groups of changes that the replica lacks, and it may have taken more since."
        )
    if own.role != "learner":
        lines.append("The replica is a member: it lacks nothing that was acknowledged.")
    if group.least > 1:
        lines.append(
            f"min_replicas is {group.least}: the shard takes no changes until so many have all documents, or the "
            "config has a lower one."
        )
    return lines
