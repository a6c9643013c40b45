"""Sends the bootstrap a config that was made for the cluster's state: shown before, made again when the state changed.

Rules:

- what somebody has agreed to is what is done: if anything else would move by now, it is shown and asked about again;
- nobody is asked where nobody can answer: then it takes ``--yes``.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import attrs
import click

from pyshard.cli.common_options import Target
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.json_output import put_json
from pyshard.cli.layout_plan import LayoutPlan, layout_plan, loads_in, plan_json, plan_lines, plan_table
from pyshard.cli.move_jobs import ask, bar_of_moves, check_none_cancelled, wait_for
from pyshard.cli.rich_output import show
from pyshard.cli.standard_output import flush, put
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import StaleEpoch, Unavailable
from pyshard.model.cluster_state import ClusterState
from pyshard.model.config_file import ClusterConfig
from pyshard.model.layout_change import LayoutChange, layout_change
from pyshard.model.shard_map import ShardMap
from pyshard.model.transfer_check import ShardLoad
from pyshard.settings import settings

_TRIES = 5

_Function = TypeVar("_Function", bound=Callable[..., object])

#: Gives the shards and ranges that a cluster is to have, by its state, and by what its shards have.
WantedMap: TypeAlias = Callable[[ClusterState, dict[str, ShardLoad]], ShardMap]


@attrs.frozen
class Sending:
    """How a config is sent.

    :param confirm: whether it is shown and asked about before.
    :param as_json: whether one line of JSON is printed at the end, and nothing else.
    :param wait: whether the moves are waited for.
    """

    confirm: bool
    as_json: bool
    wait: bool


@attrs.frozen
class Sent:
    """What came of it.

    :param plan: what was planned.
    :param moves: the numbers of the moves; None: there was nothing to send.
    :param gone: the numbers of those that have been cancelled, as far as they were waited for.
    """

    plan: LayoutPlan
    moves: list[int] | None
    gone: list[int] = attrs.field(factory=list)


def sending_options(function: _Function) -> _Function:
    """Add the options to a command that plans moves."""
    click.option("--json", "as_json", is_flag=True, help="Print what was planned as one line of JSON.")(function)
    click.option(
        "--wait", is_flag=True, help="Wait until the moves are over; exit code 1 when one was cancelled meanwhile."
    )(function)
    return function


def send(target: Target, wanted: WantedMap, sending: Sending) -> None:
    """Bring the cluster to a config, and say what was done.

    :raises CommandFailed: the bootstrap said no, or whoever was asked.
    """
    if sending.confirm and sending.as_json:
        raise click.UsageError("--json asks nothing; look at 'pyshard plan --json', and give --yes")
    if sending.confirm and not can_answer():
        raise click.UsageError("there is no terminal to ask whether to go on; look at 'pyshard plan', and give --yes")
    sent = ask(target, lambda client: _send(client, wanted, sending))
    if sending.as_json:
        put_json(plan_json(sent.plan) | {"moves": sent.moves or []})
    else:
        for line in sent_lines(sent, sending.wait):
            put(line)
    check_none_cancelled(sent.gone)


def can_answer() -> bool:
    """Whether somebody can answer a question, on a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


async def planned(client: LayoutClient, wanted: WantedMap) -> tuple[ClusterState, ShardMap, LayoutChange, LayoutPlan]:
    """What it takes to bring the cluster to a config, by its state now."""
    found = await client.stat()
    loads = loads_in(found)
    state = await client.state()
    shards = wanted(state, loads)
    change = layout_change(state, shards)
    return state, shards, change, layout_plan(change, loads)


def put_plan(plan: LayoutPlan) -> None:
    """Print a plan as people read it."""
    if plan.transfers:
        show(plan_table(plan))
    for line in plan_lines(plan):
        put(line)


def sent_lines(sent: Sent, waited: bool) -> list[str]:
    """What is said when a config was sent."""
    if sent.moves is None:
        later = (
            f" Still to leave when this is applied again: {', '.join(sent.plan.emptied)}." if sent.plan.emptied else ""
        )
        return ["Nothing to do: the cluster is like that already, or will be when its moves are done." + later]
    lines = []
    if sent.moves:
        numbers = ", ".join(map(str, sent.moves))
        moves = f"move{'' if len(sent.moves) == 1 else 's'} {numbers}"
        lines.append(f"Planned {moves}." if waited else f"Planned {moves}; watch with 'pyshard jobs --follow'.")
        if waited and not sent.gone:
            lines.append("Done.")
    else:
        lines.append("Done; nothing has to move.")
    if sent.plan.emptied:
        lines.append(f"Apply this again when nothing moves any more, so that {', '.join(sent.plan.emptied)} can leave.")
    return lines


async def _send(client: LayoutClient, wanted: WantedMap, sending: Sending) -> Sent:
    agreed: LayoutChange | None = None
    for _ in range(_TRIES):
        state, shards, change, plan = await planned(client, wanted)
        if change.nothing:
            return Sent(plan, None)
        if sending.confirm and (agreed is None or not _as_agreed(change, agreed)):
            _confirm(plan)
            agreed = change
        config = ClusterConfig(shards, str(settings.BOOTSTRAP_SERVER[0]), int(settings.BOOTSTRAP_SERVER[1]))
        try:
            numbers = await client.apply(config, state)
        except StaleEpoch:
            continue
        if not sending.wait or not numbers:
            return Sent(plan, numbers)
        with bar_of_moves() as draw:
            return Sent(plan, numbers, (await wait_for(client, numbers, draw))[1])
    raise Unavailable("the cluster changes all the time, so that no plan fits it; try again in a moment")


def _as_agreed(change: LayoutChange, agreed: LayoutChange) -> bool:
    """Whether a change does nothing but what was agreed to. Shards may have been added or have left already."""
    return (
        change.transfers == agreed.transfers
        and _within(change.added, agreed.added)
        and _within(change.updated, agreed.updated)
        and _within(change.removed, agreed.removed)
    )


def _within(these: Sequence[object], those: Sequence[object]) -> bool:
    return all(one in those for one in these)


def _confirm(plan: LayoutPlan) -> None:
    """Show a plan, and ask whether to go on.

    :raises CommandFailed: the answer was no.
    """
    put_plan(plan)
    flush()
    with interruptible():
        if not click.confirm("Go on?", err=True):
            raise CommandFailed("nothing was changed", ExitCode.NEGATIVE)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question: the reactor, which takes it elsewhere, doesn't run meanwhile."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
