"""Draws the plot of the page: the ratios of all comparisons, and the rates by documents and by shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markdown_cells import workload
from results import Results, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FASTER, _SLOWER, _TARGET = "#2a7f62", "#b5483a", "#222222"

#: The workloads in the plots of the scaling; all of them would be too many lines.
_SHOWN = ("read-many", "write-many", "read-in-flight", "read-each", "read-threads")


def draw(results: Results, path: Path) -> None:
    """Draw the plot into a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 16), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.3, 1])
    _ratios(figure.add_subplot(grid[:, 0]), results)
    by_documents, by_shards = results.by_documents(), results.by_shards()
    amounts, counts = [scale.documents for scale in by_documents], [scale.shards for scale in by_shards]
    _rates(figure.add_subplot(grid[0, 1]), by_documents, "documents, on two shards", amounts)
    _rates(figure.add_subplot(grid[1, 1]), by_shards, "shards", counts)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _ratios(axes: Axes, found: Results) -> None:
    """A bar for each comparison, from 1 to the ratio's median, with a whisker from least to most."""
    axes.set_title("pyshard's rate / the peer's (median, least and most; ◆ target, × worst shape)")
    results = found.main()
    if not results:
        return
    axes.set_xscale("log")
    places = range(len(results))
    for place, result in zip(places, results, strict=True):
        ratio = result.outcome.ratio
        color = _FASTER if ratio.median >= 1 else _SLOWER
        axes.barh(place, ratio.median - 1, left=1, color=color, height=0.7)
        axes.plot([ratio.least, ratio.most], [place, place], color="black", linewidth=1)
        if result.target is not None:
            axes.plot([result.target], [place], marker="D", color=_TARGET, markersize=5)
        worst = found.worst_shape(result)
        if worst is not None:
            axes.plot([worst.ratio], [place], marker="x", color=_TARGET, markersize=5)
    axes.axvline(1, color="black", linewidth=1)
    labels = [f"{workload(result)}\n{result.peer}" for result in results]
    axes.set_yticks(list(places), labels)
    axes.tick_params(axis="y", labelsize=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="x", alpha=0.3)
    axes.set_ylim(len(results) - 0.5, -0.5)


def _rates(axes: Axes, scales: list[Scale], title: str, places: list[int]) -> None:
    """A line for each workload of `_SHOWN`."""
    axes.set_title(f"operations per second by {title}")
    if not scales:
        return
    for number, first in enumerate(scales[0].results):
        if first.verb in _SHOWN:
            axes.plot(
                places, [scale.results[number].outcome.ours for scale in scales], marker="o", label=first.workload
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.07))
