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
from markdown_cells import cpu
from results import Result, Results, Scale
from rounds import compare
from scaling import scale, steps
from variants import VARIANTS, Failed, Variant, chosen, measure
from workload import WrongValue

_DOCS = Path(__file__).resolve().parents[1] / "docs"

#: What `--only` calls the scaling.
_SCALING = "scaling"


@attrs.frozen
class Plan:
    """What a run does.

    :param scales: pairs of documents and shards.
    :param variants: other ways in which some of the comparisons are measured, too.
    :param varied: the names of those comparisons.
    """

    amounts: Amounts
    quick: bool
    comparisons: list[Comparison]
    scales: list[tuple[int, int]]
    variants: list[Variant]
    varied: list[str]

    @property
    def names(self) -> list[str]:
        """Of all of it, as `--only` takes them."""
        scaling = [_SCALING] if self.scales else []
        return [*(one.name for one in self.comparisons), *scaling, *(variant.name for variant in self.variants)]


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="TEXT",
    help=f"Do only what has this in its name (see --list; {_SCALING!r} is all of the scaling); may be repeated.",
)
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each comparison, behind the warm-up.  [default: 7]")
@click.option("--documents", type=click.IntRange(1), help="Documents in the stores.  [default: 100000]")
@click.option("--pin", is_flag=True, help="Give the client a processor of its own, and the servers the others.")
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
    pin: bool,
    quick: bool,
    out: Path | None,
    source: Path | None,
    listing: bool,
) -> None:
    """Compare pyshard with its peers, which are started on loopback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if pin:
        processors.pin_client()
    amounts = QUICK if quick else FULL
    amounts = attrs.evolve(amounts, rounds=rounds or amounts.rounds, documents=documents or amounts.documents)
    thread, loop = ReactorThread(), LoopThread()
    every = comparisons(amounts, thread, loop)
    plan = Plan(
        amounts,
        quick,
        [comparison for comparison in every if _chosen(comparison.name, only)],
        steps(amounts) if _chosen(_SCALING, only) else [],
        [one for one in VARIANTS if _chosen(one.name, only) and one.possible() and not pin],
        chosen(every),
    )
    if listing:
        print("\n".join(plan.names))
        return
    if source is not None:
        write(results.from_json(source.read_bytes()), out or source.parent)
        return
    if out is None and not (quick or only):
        out = _DOCS
    try:
        found = run(plan, thread, loop)
    except WrongValue as error:
        raise click.ClickException(f"a wrong value: {error}") from None
    except Failed as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        write(found, out)


def run(plan: Plan, thread: ReactorThread, loop: LoopThread) -> Results:
    """Do what is planned, and print each result as it comes."""
    amounts = plan.amounts
    begun = datetime.now(UTC)
    gc.collect()
    gc.freeze()  # objects made so far are not looked through before each sample
    clock = time.monotonic()
    others = machine.OtherPrograms()
    compared: list[Result] = []
    scaled: list[Scale] = []
    varied: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="pyshard-bench-", dir=_disk()) as name:
        folder = Path(name)
        about = machine.describe(folder)
        fleet = Fleet(folder, thread, loop)
        try:
            for comparison in plan.comparisons:
                compared.append(compare(comparison, fleet, amounts.rounds))
                print(line(compared[-1]), flush=True)
        finally:
            fleet.close()
        for documents, shards in plan.scales:
            fleet = Fleet(folder / f"scaling-{documents}-{shards}", thread, loop)
            try:
                scaled.append(scale(amounts, documents, shards, fleet, thread))
            finally:
                fleet.close()
            print(scale_lines(scaled[-1]), flush=True)
        for variant in plan.variants:
            print(f"{variant.name}:", flush=True)
            varied[variant.name] = measure(variant, plan.varied, amounts, plan.quick, folder / variant.name)
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
        varied,
    )


def write(found: Results, folder: Path) -> None:
    """Write page, plot and figures."""
    from plot import draw

    folder.mkdir(parents=True, exist_ok=True)
    (folder / results.FILE).write_bytes(results.to_json(found))
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
        f"CPU {cpu(found.our_cpu):>6} / {cpu(found.peers_cpu):>6} s per million{aim}"
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
