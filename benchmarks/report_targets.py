"""The targets of the project on the page: whether each is reached, with the spread and the worst shape. Pure."""

from __future__ import annotations

from markdown_cells import table, with_spread, workload
from ratios import spread
from results import Result, Results

#: The most that a document may take in memory, compared with Redis.
BYTES_TARGET = 1.3

#: The least of each ratio that has to be left without a compiler.
PLAIN_TARGET = 0.5

_TEXT = """\
pyshard has two shards; in memory, unless it says durable. A target is reached when all shapes together reach it, and no
shape by itself has less than 0.6 of it; bulk calls and one blocking read are measured for each shape by itself."""


def targets(results: Results) -> str:
    """The section; empty where no target was measured."""
    rows = [_row(results, result) for result in results.main() if result.target is not None]
    rows += [*_memory(results), *_plain(results)]
    if not rows:
        return ""
    reached = sum(row[-1] == "yes" for row in rows)
    titles = ["workload", "peer", "target", "ratio", "worst shape", "reached"]
    return "\n".join(
        ["## The targets", "", f"This run reaches {reached} of {len(rows)}.", _TEXT, "", *table(titles, rows)]
    )


def _row(results: Results, result: Result) -> list[str]:
    worst = results.worst_shape(result)
    return [
        workload(result),
        result.peer,
        f"{result.target:g}",
        with_spread(result.outcome.ratio),
        "" if worst is None else f"{worst.shape}: {with_spread(worst.outcome.ratio)}",
        _answer(bool(results.reached(result))),
    ]


def _memory(results: Results) -> list[list[str]]:
    largest = results.largest()
    if largest is None:
        return []
    what = f"resident memory per document, {largest.documents:,} flat rows in memory"
    ratio = largest.bytes_ratio
    return [[what, "one Redis", f"at most {BYTES_TARGET:g}", f"{ratio:.2f}", "", _answer(ratio <= BYTES_TARGET)]]


def _plain(results: Results) -> list[list[str]]:
    """What is left of all these ratios without a compiler; the one of which the least is left stands for the worst."""
    left = [(other.ratio / usual.ratio, usual) for usual, other in results.varied("plain")]
    if not left:
        return []
    least, worst = min(left, key=lambda one: one[0])
    return [
        [
            "all of these without a compiler",
            "the same with compiled code",
            f"{PLAIN_TARGET:g}",
            with_spread(spread(share for share, _ in left)),
            f"{workload(worst)}, {worst.peer}: {least:.2f}",
            _answer(least >= PLAIN_TARGET),
        ]
    ]


def _answer(reached: bool) -> str:
    return "yes" if reached else "**no**"
