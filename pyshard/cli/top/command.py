"""The subcommand `top`: asks all shards again and again, and shows what they do.

Rules:

- a shard that is away is shown as down, and the others go on;
- a look takes no longer than the pause between two of them, or a second;
- Ctrl-C ends it with exit code 0, and leaves the terminal as it was.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress

import attrs
import click
from rich.console import Console
from rich.live import Live

from pyshard.blocking import Pyshard
from pyshard.blocking.daemon_reports import daemon_reports, listed_moves
from pyshard.cli.common_options import Target, on_cluster
from pyshard.cli.exit_codes import ExitCode
from pyshard.cli.json_output import put_json
from pyshard.cli.rich_output import Printable, show
from pyshard.cli.signals import interrupt_raises
from pyshard.cli.standard_output import flush, is_terminal
from pyshard.cli.top.rates import ShardRates, rows, total
from pyshard.cli.top.samples import Sample, sample
from pyshard.cli.top.table import screen, top_json
from pyshard.clocks import steady_seconds
from pyshard.errors import PyshardError
from pyshard.settings import settings

_LEAST, _LONGEST = 0.1, 3600.0  # seconds between two looks
_SHORTEST = 1.0  # seconds that a look may take, however short the pause is
_WIDE = 200  # columns, where the output is no terminal


@attrs.frozen
class Look:
    """What is known after a look at the cluster.

    :param moves: how many are under way; None: the bootstrap didn't say.
    """

    rows: list[ShardRates]
    total: ShardRates
    sample: Sample
    moves: int | None

    @property
    def about(self) -> str:
        """The line above the table."""
        moves = "moves unknown" if self.moves is None else f"{self.moves} moves" if self.moves != 1 else "1 move"
        down = sum(bool(row.error) for row in self.rows)
        return f"{len(self.rows)} shards, {down} down, epoch {self.sample.epoch}, {moves}. Ctrl-C ends."


def _interval(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if math.isnan(value) or not _LEAST <= value <= _LONGEST:
        raise click.BadParameter(f"found {value:g}, expected {_LEAST:g} to {_LONGEST:g} seconds", ctx, param)
    return value


@click.command()
@on_cluster(index=False, deadline=settings.TIMEOUT)
@click.option("--once", is_flag=True, help="Print it once, after one interval.")
@click.option(
    "--interval",
    type=float,
    default=2.0,
    callback=_interval,
    metavar="SECONDS",
    help="Seconds between two looks.  [default: 2]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each look.")
def top(target: Target, once: bool, interval: float, as_json: bool) -> None:
    """Show what each shard does, live.

    Operations a second, how long batches take (half of them, and 99 of 100), documents, how full it is, and bytes of
    changes that wait for the disk. Rates and times are those since the last look. On a terminal with 110 columns there
    is more. Exit code 1 with --once when a shard is down.

    \b
    Examples:
      pyshard top
      pyshard top --once
      pyshard top --json --interval 10 | tee -a figures.jsonl
    """
    context = click.get_current_context()
    if not once and not as_json and not is_terminal():
        raise click.UsageError("this draws on a terminal; use --once or --json elsewhere", context)
    with target.connect() as app:
        looks = Looks(app, min(target.deadline, max(_SHORTEST, interval)))
        if once:
            _put(looks.two(interval), as_json)
        else:
            with interrupt_raises(), suppress(KeyboardInterrupt):
                (_print_all if as_json else _draw_all)(looks, interval)
    if once and any(row.error for row in looks.last.rows):
        context.exit(ExitCode.NEGATIVE)


class Looks:
    """Looks at a cluster.

    :param deadline: seconds that a look may take.
    :ivar last: what is known by now; only after `next`.
    """

    last: Look

    def __init__(self, app: Pyshard, deadline: float, seconds: Callable[[], float] = steady_seconds) -> None:
        self._app = app
        self._deadline = deadline
        self._seconds = seconds
        self._before: Sample | None = None

    def next(self) -> Look:
        """Look again."""
        at = self._seconds()
        state, reports = daemon_reports(self._app, self._deadline, self._seconds)
        now = sample(at, state.epoch, reports)
        try:
            moves: int | None = sum(not move.over for move in listed_moves(self._app, self._deadline))
        except PyshardError:  # a bootstrap that is away: what shards do is shown all the same
            moves = None
        found = rows(self._before, now)
        self.last = Look(found, total(found, self._before, now), now, moves)
        self._before = now
        return self.last

    def two(self, interval: float) -> Look:
        """Look twice, so that there are rates."""
        self.next()
        pause(interval)
        return self.next()


def pause(seconds: float) -> None:
    """Wait."""
    threading.Event().wait(seconds)


def _put(look: Look, as_json: bool) -> None:
    if as_json:
        put_json(top_json(look.rows, look.total, look.sample.epoch, look.moves))
    else:
        show(screen(look.rows, look.total, look.about.removesuffix(" Ctrl-C ends."), _width()))


def _print_all(looks: Looks, interval: float) -> None:
    looks.next()
    while True:
        pause(interval)
        _put(looks.next(), True)
        flush()


def _draw_all(looks: Looks, interval: float) -> None:
    look = looks.next()
    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(Printable(screen(look.rows, look.total, look.about, _width())), refresh=True)
            pause(interval)
            look = looks.next()


def console() -> Console:
    """The terminal that is drawn on."""
    return Console(highlight=False)


def _width() -> int:
    return shutil.get_terminal_size().columns if is_terminal() else _WIDE
