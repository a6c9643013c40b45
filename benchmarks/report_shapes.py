"""The ratios of each shape by itself on the page, beside that of all together. Pure."""

from __future__ import annotations

from markdown_cells import table, workload
from results import Results
from shapes import SHAPES


def shapes(results: Results) -> str:
    """The section; empty where no shape was measured by itself."""
    rows = []
    for result in results.main():
        found = {other.shape: other for other in results.shapes_of(result)}
        if found:
            ratios = [f"{found[shape.name].ratio:.2f}" if shape.name in found else "" for shape in SHAPES]
            rows.append([workload(result), result.peer, f"{result.ratio:.2f}", *ratios])
    if not rows:
        return ""
    titles = ["workload", "peer", "all together", *(shape.name for shape in SHAPES)]
    return "\n".join(["## Shape by shape", "", "The medians of the ratios.", "", *table(titles, rows)])
