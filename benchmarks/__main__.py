"""The benchmarks: `tox run -e bench`, or `python benchmarks` where pyshard and the peers' clients are installed."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import attrs
import click
from comparisons import FULL, QUICK, comparisons
from fleet import Fleet
from inflight import ReactorThread
from measure import outcome
from run import Result, compare


@click.command()
@click.option("--only", multiple=True, metavar="TEXT", help="Do only what has this in its name; may be repeated.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each comparison, behind the warm-up.  [default: 7]")
@click.option("--documents", type=click.IntRange(1), help="Documents in the stores.  [default: 100000]")
@click.option("--quick", is_flag=True, help="A tiny run, to see that everything works; its figures say nothing.")
@click.option("--list", "listing", is_flag=True, help="Only print the names of the comparisons.")
def main(only: tuple[str, ...], rounds: int | None, documents: int | None, quick: bool, listing: bool) -> None:
    """Compare pyshard with its peers, which are started on loopback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    amounts = QUICK if quick else FULL
    amounts = attrs.evolve(amounts, rounds=rounds or amounts.rounds, documents=documents or amounts.documents)
    thread = ReactorThread()
    wanted = [one for one in comparisons(amounts, thread) if not only or any(text in one.name for text in only)]
    if listing:
        for one in wanted:
            print(one.name)
        return
    with tempfile.TemporaryDirectory(prefix="pyshard-bench-") as folder:
        fleet = Fleet(Path(folder), thread)
        try:
            for one in wanted:
                print(line(compare(one, fleet, amounts.rounds)), flush=True)
        finally:
            fleet.close()


def line(result: Result) -> str:
    """A result in one line."""
    if result.skipped is not None:
        return f"{result.name:34} skipped: {result.skipped}"
    found = outcome(result.rounds)
    ratio = found.ratio
    aim = (
        ""
        if result.target is None
        else f"  target {result.target:g}{'' if ratio.median >= result.target else ' MISSED'}"
    )
    return (
        f"{result.name:34} {ratio.median:6.2f} ({ratio.least:.2f} – {ratio.most:.2f})  "
        f"{found.ours:10,.0f} / {found.peers:10,.0f} per second  "
        f"CPU {found.our_cpu:6.1f} / {found.peers_cpu:6.1f} s per million{aim}"
    )


if __name__ == "__main__":
    main()
