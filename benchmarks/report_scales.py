"""The scaling on the page: from few documents to many, from one shard to several. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_cells import cpu, table
from results import Results, Scale

#: The workloads that keep the shards busy: the tables give their CPU time, too.
_WITH_CPU = ("write-many", "read-many", "write-in-flight", "read-in-flight")

_TEXT = """\
Operations per second of pyshard, in memory, on flat rows; in parentheses the ratio to one Redis with as many documents.
The rows on memory have resident bytes per document, and in parentheses their ratio to those of Redis.
CPU is seconds of all shards per million operations."""


def scales(results: Results) -> str:
    """The section; empty where nothing was scaled."""
    by_documents, by_shards = results.by_documents(), results.by_shards()
    if not by_documents and not by_shards:
        return ""
    lines = ["## From few documents to many, from one shard to several", "", _TEXT]
    if by_documents:
        titles = [f"{scale.documents:,} documents" for scale in by_documents]
        lines += ["", *table(["two shards", *titles], _rows(by_documents))]
    if by_shards:
        titles = [f"{scale.shards} shard{'s' if scale.shards > 1 else ''}" for scale in by_shards]
        lines += ["", *table([f"{by_shards[0].documents:,} documents", *titles], _rows(by_shards))]
    return "\n".join(lines)


def _rows(found: Sequence[Scale]) -> list[list[str]]:
    rows = []
    for place, first in enumerate(found[0].results):
        outcomes = [scale.results[place].outcome for scale in found]
        rows.append([first.workload, *(f"{one.ours:,.0f} ({one.ratio.median:.2f})" for one in outcomes)])
        if first.verb in _WITH_CPU:
            rows.append([f"CPU of {first.workload}", *(cpu(one.our_cpu) for one in outcomes)])
    rows.append(["memory", *(f"{scale.our_bytes:.0f} ({scale.bytes_ratio:.2f})" for scale in found)])
    return rows
