"""What other ways to run the same comparisons change, on the page. Pure."""

from __future__ import annotations

from markdown_cells import table, with_spread, workload
from results import Results

_PINNED = """\
## With processors of their own

The same with the client's process on one processor and all servers on the others (`--pin`), which users rarely have.
Rates change less from round to round then: left to the system, a server that is woken often takes the client's
processor from it, and the threads of one Python program, which run in turns, do worse on several processors than on
one. No target goes by these."""

_PLAIN = """\
## Without a compiler

The same with pyshard in plain Python, as it is installed where there is no C compiler (docs/development.md, "Compiled
code"). The last column is what is left of the ratio."""


def pinned(results: Results) -> str:
    """The section on placement; empty where it wasn't measured."""
    rows = [
        [workload(usual), usual.peer, with_spread(usual.outcome.ratio), with_spread(other.outcome.ratio)]
        for usual, other in results.varied("pinned")
    ]
    return "\n".join([_PINNED, "", *table(["workload", "peer", "ratio", "ratio, pinned"], rows)]) if rows else ""


def plain(results: Results) -> str:
    """The section on plain Python; empty where it wasn't measured."""
    rows = [
        [
            workload(usual),
            usual.peer,
            with_spread(usual.outcome.ratio),
            with_spread(other.outcome.ratio),
            f"{other.ratio / usual.ratio:.2f}",
        ]
        for usual, other in results.varied("plain")
    ]
    titles = ["workload", "peer", "ratio, compiled", "ratio, plain", "plain of compiled"]
    return "\n".join([_PLAIN, "", *table(titles, rows)]) if rows else ""
