"""The benchmarks: `tox run -e bench`, or `python benchmarks` where pyshard and the peers' clients are installed."""

from __future__ import annotations

import gc
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import attrs
import click
import machine
import processors
import report
import results
from amounts import FULL, QUICK, Amounts
from awaited_calls import LoopThread
from comparisons import Comparison, comparisons
from fleet import Fleet
from in_flight_calls import ReactorThread
from results import Result, Results, Scale
from rounds import compare
from scaling import scale, steps
from workload import WrongValue

_DOCS = Path(__file__).resolve().parents[1] / "docs"

#: What `--only` calls the scaling.
_SCALING = "scaling"


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="TEXT",
    help=f"Do only what has this in its name (see --list; {_SCALING!r} is all of the scaling); may be repeated.",
)
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each comparison, behind the warm-up.  [default: 7]")
@click.option("--documents", type=click.IntRange(1), help="Documents in the stores.  [default: 100000]")
@click.option(
    "--together",
    is_flag=True,
    help="Let the system place client and servers; without, the client has a processor of its own.",
)
@click.option("--quick", is_flag=True, help="A tiny run, to see that everything works; its figures say nothing.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where benchmarks.md, .png and .json are written.  [default: docs/, after a whole run; else nowhere]",
)
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Measure nothing: write page and plot again, from this benchmarks.json.",
)
@click.option("--list", "listing", is_flag=True, help="Only print the names of the comparisons.")
def main(
    only: tuple[str, ...],
    rounds: int | None,
    documents: int | None,
    together: bool,
    quick: bool,
    out: Path | None,
    source: Path | None,
    listing: bool,
) -> None:
    """Compare pyshard with its peers, which are started on loopback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not together:
        processors.pin_client()
    amounts = QUICK if quick else FULL
    amounts = attrs.evolve(amounts, rounds=rounds or amounts.rounds, documents=documents or amounts.documents)
    thread, loop = ReactorThread(), LoopThread()
    wanted = [comparison for comparison in comparisons(amounts, thread, loop) if _chosen(comparison.name, only)]
    scales = steps(amounts) if _chosen(_SCALING, only) else []
    if listing:
        print("\n".join([*(comparison.name for comparison in wanted), *([_SCALING] if scales else [])]))
        return
    if source is not None:
        write(results.from_json(source.read_bytes()), out or source.parent)
        return
    if out is None and not (quick or only):
        out = _DOCS
    try:
        found = run(amounts, wanted, scales, thread, loop)
    except WrongValue as error:
        raise click.ClickException(f"a wrong value: {error}") from None
    if out is not None:
        write(found, out)


def run(
    amounts: Amounts, wanted: list[Comparison], scales: list[tuple[int, int]], thread: ReactorThread, loop: LoopThread
) -> Results:
    """Do the comparisons and the scaling, and print each result as it comes."""
    begun = datetime.now(UTC)
    gc.collect()
    gc.freeze()  # objects made so far are not looked through before each sample
    clock = time.monotonic()
    others = machine.OtherPrograms()
    compared: list[Result] = []
    scaled: list[Scale] = []
    with tempfile.TemporaryDirectory(prefix="pyshard-bench-", dir=_disk()) as name:
        folder = Path(name)
        about = machine.describe(folder)
        fleet = Fleet(folder, thread, loop)
        try:
            for comparison in wanted:
                compared.append(compare(comparison, fleet, amounts.rounds))
                print(line(compared[-1]), flush=True)
        finally:
            fleet.close()
        for documents, shards in scales:
            fleet = Fleet(folder / f"scaling-{documents}-{shards}", thread, loop)
            try:
                scaled.append(scale(amounts, documents, shards, fleet, thread))
            finally:
                fleet.close()
            print(scale_lines(scaled[-1]), flush=True)
    return Results(
        f"{begun:%Y-%m-%d %H:%M} UTC",
        time.monotonic() - clock,
        [
            *about,
            ("placement", processors.placement()),
            ("taken by other programs meanwhile", f"{others.share():.0%} of the processor"),
        ],
        machine.versions(),
        amounts.rounds,
        amounts.documents,
        compared,
        scaled,
    )


def write(found: Results, folder: Path) -> None:
    """Write page, plot and figures."""
    from plot import draw

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_bytes(results.to_json(found))
    (folder / "benchmarks.md").write_text(report.page(found), encoding="utf-8")
    draw(found, folder / "benchmarks.png")
    print(f"wrote {folder / 'benchmarks.md'}")


def line(result: Result) -> str:
    """A result in one line."""
    if result.skipped is not None:
        return f"{result.name:40} skipped: {result.skipped}"
    found = result.outcome
    ratio = found.ratio
    aim = "" if result.target is None else f"  target {result.target:g}{'' if result.met else ' MISSED'}"
    return (
        f"{result.name:40} {ratio.median:6.2f} ({ratio.least:.2f} – {ratio.most:.2f})  "
        f"{found.ours:10,.0f} / {found.peers:10,.0f} per second  "
        f"CPU {found.our_cpu:6.1f} / {found.peers_cpu:6.1f} s per million{aim}"
    )


def scale_lines(found: Scale) -> str:
    """The results at one scale, in a few lines."""
    head = f"{found.documents:,} documents, {found.shards} shards"
    if found.skipped is not None:
        return f"{head}: skipped: {found.skipped}"
    memory = f"{found.our_bytes:.0f} / {found.peers_bytes:.0f} bytes per document, {found.bytes_ratio:.2f}"
    return "\n".join([f"{head}: {memory}", *(f"  {line(result)}" for result in found.results)])


def _chosen(name: str, only: tuple[str, ...]) -> bool:
    return not only or any(text in name for text in only)


def _disk() -> str:
    """A folder for temporary files that is on a disk, as durable stores need it."""
    usual = tempfile.gettempdir()
    return "/var/tmp" if machine.file_system(Path(usual)) == "tmpfs" else usual


if __name__ == "__main__":
    main()
