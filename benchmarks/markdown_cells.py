"""What the parts of the page share: tables, and how a figure is written in their cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ratios import Spread
from results import Result


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def with_spread(ratio: Spread) -> str:
    """A median, with the least and the most."""
    return f"{ratio.median:.2f} ({ratio.least:.2f} – {ratio.most:.2f})"


def cpu(seconds: float | None) -> str:
    """CPU seconds; a dash where there are no servers that would use any."""
    return "–" if seconds is None else f"{seconds:.1f}"


def workload(result: Result) -> str:
    """The workload, and whether it is durable."""
    return f"{result.workload}{', durable' if result.durable else ''}"


def workload_and_store(result: Result) -> str:
    """The workload, and where the documents are."""
    return f"{result.workload}, {'durable' if result.durable else 'in memory'}"
