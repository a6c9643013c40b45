"""The subcommand `jobs`: the moves of ranges that are planned, under way, or ended of late; and how to change one.

Rules:

- a move is waited for until nothing of it is left to do, on either side;
- the commands that plan moves wait for these (`wait_for`), `jobs --wait` for those that it finds under way;
- a bootstrap that is away is asked again, until the deadline of one question is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import Deferred

from pyshard.cli import deferred_call
from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.json_output import put_json
from pyshard.cli.move_table import MoveTable, cancelled, moves_json, remarks, under_way
from pyshard.cli.progress_on_terminal import ProgressOnTerminal
from pyshard.cli.rich_output import Printable, show
from pyshard.cli.standard_output import is_terminal, put
from pyshard.client import Client
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import BadRequest
from pyshard.protocol.listed_moves import ListedMove

_LOOK = 0.5  # seconds between looks

_T = TypeVar("_T")


def ask(target: Target, work: Callable[[LayoutClient], Coroutine[Deferred[Any], Any, _T]]) -> _T:
    """Have the bootstrap asked.

    :raises CommandFailed: it said no.
    """

    def begin(client: Client) -> Deferred[_T]:
        return Deferred.fromCoroutine(work(LayoutClient(client)))

    try:
        return deferred_call.call(target, begin)
    except BadRequest as error:
        raise CommandFailed(str(error), ExitCode.REFUSED) from None


@click.group(invoke_without_command=True, no_args_is_help=False)
@on_cluster(index=False)
@click.option("--follow", is_flag=True, help="Draw the table anew until nothing is under way; needs a terminal.")
@click.option("--wait", is_flag=True, help="Wait until nothing is under way, and print the table then.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known of them, as one line of JSON.")
def jobs(target: Target, follow: bool, wait: bool, as_json: bool) -> None:
    """Show the moves of ranges, or change one.

    Those that are planned and under way, and those that ended of late. With --wait or --follow the exit code is 1 when
    one was cancelled while the command waited. Ctrl-C ends --follow alone with 0; moves go on.

    \b
    Examples:
      pyshard jobs
      pyshard jobs --follow
      pyshard jobs --wait --json
      pyshard jobs cancel 7
    """
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        _refuse_options_before(context, context.invoked_subcommand)
        return
    if follow and (as_json or not is_terminal()):
        raise click.UsageError("--follow draws on a terminal; use --wait" + (" with --json" if as_json else ""))
    if not follow and not wait:
        put_moves(ask(target, LayoutClient.moves), as_json)
        return
    try:
        with (
            screen_of_moves() if follow else bar_of_moves() as draw
        ):  # out here, since an interrupt leaves `wait_for` where it is
            moves, gone = ask(target, lambda client: wait_for(client, None, draw))
    except KeyboardInterrupt:
        if wait:
            raise
        return  # who only watches has seen enough
    if not follow:
        put_moves(moves, as_json)
    check_none_cancelled(gone)


@jobs.command()
@on_cluster(index=False)
@click.argument("number", type=click.IntRange(min=1))
def cancel(target: Target, number: int) -> None:
    """Give up the move NUMBER. What it has copied is removed again.

    A move that is committed can't be cancelled; move the range back instead.

    \b
    Example:
      pyshard jobs cancel 7
    """
    ask(target, lambda client: client.change_move(number, "cancel"))


@jobs.command()
@on_cluster(index=False)
@click.argument("number", type=click.IntRange(min=1))
def pause(target: Target, number: int) -> None:
    """Have the move NUMBER wait until it is resumed. It keeps what it has copied.

    \b
    Example:
      pyshard jobs pause 7
    """
    ask(target, lambda client: client.change_move(number, "pause"))


@jobs.command()
@on_cluster(index=False)
@click.argument("number", type=click.IntRange(min=1))
def resume(target: Target, number: int) -> None:
    """Have the move NUMBER go on, which was paused.

    \b
    Example:
      pyshard jobs resume 7
    """
    ask(target, lambda client: client.change_move(number, "resume"))


def put_moves(moves: list[ListedMove], as_json: bool) -> None:
    """Print moves, as a table or as JSON."""
    if as_json:
        put_json(moves_json(moves))
    elif not moves:
        put("No moves.")
    else:
        show(MoveTable(moves))
        for line in remarks(moves):
            put(line)


def check_none_cancelled(gone: Collection[int]) -> None:
    """End the command if moves were cancelled that it waited for.

    :raises CommandFailed: exit code 1.
    """
    if gone:
        names = "move " if len(gone) == 1 else "moves "
        raise CommandFailed(f"{names}{', '.join(map(str, gone))}: cancelled; see 'pyshard jobs'", ExitCode.NEGATIVE)


async def wait_for(
    client: LayoutClient, numbers: Collection[int] | None, draw: Callable[[list[ListedMove]], None] = lambda _: None
) -> tuple[list[ListedMove], list[int]]:
    """Wait until moves are over.

    :param numbers: of these moves; None: of all that are under way, or are planned meanwhile.
    :param draw: shows them meanwhile.
    :return: the moves that are listed then, and the numbers of those that were waited for and have been cancelled.
    """
    waited: dict[int, ListedMove] = {}
    while True:
        moves = await client.moves()
        draw(moves)
        going = under_way(moves)
        waited |= {move.number: move for move in moves if move.number in (going if numbers is None else numbers)}
        waited |= {move.number: move for move in moves if move.number in waited}
        if not going & waited.keys():
            break
        await client.pause(_LOOK)
    return moves, cancelled(waited.values(), moves, (await client.state()).map)


def screen(moves: list[ListedMove]) -> RenderableType:
    """What `jobs --follow` draws."""
    if not moves:
        return Text("No moves.")
    return Group(MoveTable(moves, bars=True), *map(Text, remarks(moves)))


@contextmanager
def screen_of_moves() -> Iterator[Callable[[list[ListedMove]], None]]:
    """What draws the table of moves on the terminal, again and again."""
    with Live(auto_refresh=False) as live:
        yield lambda moves: live.update(Printable(screen(moves)), refresh=True)


@contextmanager
def bar_of_moves() -> Iterator[Callable[[list[ListedMove]], None]]:
    """What draws a progress bar of all moves that are under way, for who waits for them."""
    with ProgressOnTerminal("moves under way") as bar:
        yield lambda moves: bar.show(*copied(moves))


def copied(moves: list[ListedMove]) -> tuple[float, float | None, int]:
    """How far the copies of the moves under way are: bytes done, bytes in all if they are known, and how many moves."""
    going = [move for move in moves if move.number in under_way(moves)]
    total = sum(move.expected for move in going)
    return sum(min(move.size, move.expected) for move in going), total or None, len(going)


def _refuse_options_before(context: click.Context, subcommand: str) -> None:
    for param in context.command.params:
        if param.name and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{param.opts[0]} means nothing before {subcommand!r}; give it behind")
