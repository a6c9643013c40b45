"""Makes the page docs/benchmarks.md from the results of a run. Pure.

Rules:

- every sentence that depends on a figure is made from it, so the page claims only what the run found;
- a comparison that was skipped is named, with the reason.
"""

from __future__ import annotations

from markdown_cells import cpu, table, with_spread
from report_losses import losses
from report_method import METHOD
from report_scales import scales
from report_shapes import shapes
from report_targets import targets
from report_variants import pinned, plain
from results import Results


def page(results: Results) -> str:
    """The whole page, in Markdown."""
    parts = [
        _head(results),
        targets(results),
        "![The ratios, and how they move](benchmarks.png)",
        losses(results),
        shapes(results),
        *(_all_comparisons(results, durable) for durable in (False, True)),
        plain(results),
        pinned(results),
        scales(results),
        _skipped(results),
        METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(results: Results) -> str:
    about = [f"| {name} | {value} |" for name, value in results.machine]
    versions = ", ".join(f"{name} {value}" for name, value in results.versions)
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "pyshard beside its peers, on one machine, over loopback. `tox run -e bench` starts everything, measures,",
            "and writes this page, conclusions included; benchmarks.json has every round. The end of the page says",
            "what is compared, and how.",
            "",
            "A *ratio* is pyshard's rate over the peer's in the same round: more than 1 means that pyshard is faster.",
            f"It is the median of {_rounds(results)} rounds, with the least and the most of them in parentheses.",
            "",
            "| this run | |",
            "|---|---|",
            f"| date | {results.date}, {results.seconds / 60:.0f} minutes |",
            *about,
            f"| versions | {versions} |",
            f"| documents in the stores | {results.documents:,}, equally many of each shape |",
        ]
    )


def _rounds(results: Results) -> str:
    """How many rounds there were: fewer where they took long."""
    found = {len(result.rounds) for result in results.ran()} or {results.rounds}
    return f"{min(found)} to {max(found)}" if len(found) > 1 else f"{max(found)}"


def _all_comparisons(results: Results, durable: bool) -> str:
    chosen = [result for result in results.main() if result.durable == durable]
    if not chosen:
        return ""
    head = (
        "## Durable: what is acknowledged is on the disk\n\n"
        "pyshard's shards with `--data-dir` and their default, fsync; Redis with `appendfsync always`;\n"
        "etcd as it is; sqlite3 and diskcache, which are files of the program that measures, with `synchronous=FULL`."
        if durable
        else "## In memory"
    )
    rows = [
        [
            result.workload,
            result.peer,
            with_spread(result.outcome.ratio),
            f"{result.outcome.ours:,.0f}",
            f"{result.outcome.peers:,.0f}",
            cpu(result.outcome.our_cpu),
            cpu(result.outcome.peers_cpu),
        ]
        for result in chosen
    ]
    titles = ["workload", "peer", "ratio", "pyshard, per second", "peer", "CPU s per million: pyshard", "peer"]
    return "\n".join([head, "", *table(titles, rows)])


def _skipped(results: Results) -> str:
    lines = [f"- {result.name}: {result.skipped}" for result in results.comparisons if result.skipped]
    lines += [
        f"- {result.name}, {name}: {result.skipped}"
        for name, found in results.variants.items()
        for result in found
        if result.skipped
    ]
    lines += [
        f"- {scale.documents:,} documents on {scale.shards} shards: {scale.skipped}"
        for scale in results.scales
        if scale.skipped
    ]
    return "\n".join(["## What was skipped", "", *lines]) if lines else ""
