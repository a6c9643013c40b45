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


def pinned(results: Results) -> str:
    """The section on placement; empty where it wasn't measured."""
    return _section(results, "pinned", _PINNED, "pinned")


def _section(results: Results, name: str, text: str, title: str) -> str:
    usual = {result.name: result for result in results.main()}
    rows = [
        [
            workload(result),
            result.peer,
            with_spread(usual[result.name].outcome.ratio),
            with_spread(result.outcome.ratio),
        ]
        for result in results.variants.get(name, [])
        if result.rounds and result.name in usual
    ]
    return "\n".join([text, "", *table(["workload", "peer", "ratio", f"ratio, {title}"], rows)]) if rows else ""
