"""Where pyshard loses, on the page: the whole truth in words. Pure."""

from __future__ import annotations

from markdown_cells import workload_and_store
from results import Results

#: How far a ratio may be from 1 and still count as equal.
_EQUAL = 0.05


def losses(results: Results) -> str:
    """The section."""
    lines = ["## Where pyshard loses", "", *_slower(results)]
    for more in (_equal(results), _shapes(results), _memory(results), _cpu(results)):
        lines += ["", *more] if more else []
    return "\n".join(lines)


def _slower(results: Results) -> list[str]:
    ran = results.main()
    lost = sorted((result for result in ran if result.ratio < 1 - _EQUAL), key=lambda result: result.ratio)
    if not lost:
        return [f"In none of {len(ran)} comparisons is pyshard slower than its peer."]
    return [
        f"In {len(lost)} of {len(ran)} comparisons pyshard is slower than its peer:",
        "",
        *(f"- {workload_and_store(result)}: {result.ratio:.2f} of the speed of {result.peer}" for result in lost),
    ]


def _equal(results: Results) -> list[str]:
    even = [result for result in results.main() if abs(result.ratio - 1) <= _EQUAL]
    named = "; ".join(f"{workload_and_store(result)} ({result.peer})" for result in even)
    return [f"About equal, within {_EQUAL:.0%}: {named}."] if even else []


def _shapes(results: Results) -> list[str]:
    """The shapes that lose by themselves, where all shapes together don't."""
    lines = []
    for result in results.main():
        lost = [other for other in results.shapes_of(result) if other.ratio < 1 - _EQUAL]
        if lost and result.ratio >= 1 - _EQUAL:
            named = ", ".join(f"{other.shape} ({other.ratio:.2f})" for other in sorted(lost, key=lambda one: one.ratio))
            lines.append(f"- {workload_and_store(result)}, {result.peer}: {named}")
    return ["Where all shapes together are not slower, these are by themselves:", "", *lines] if lines else []


def _memory(results: Results) -> list[str]:
    largest = results.largest()
    if largest is None or largest.bytes_ratio <= 1 + _EQUAL:
        return []
    return [
        f"A document takes {largest.bytes_ratio:.2f} times the memory that it takes in Redis: "
        f"{largest.our_bytes:.0f} bytes, and {largest.peers_bytes:.0f} there."
    ]


def _cpu(results: Results) -> list[str]:
    pairs = [(result.outcome.our_cpu, result.outcome.peers_cpu) for result in results.main()]
    served = [(ours, peers) for ours, peers in pairs if ours is not None and peers is not None]
    more = [ours for ours, peers in served if ours > peers]
    if not more:
        return []
    return [f"The servers of pyshard use more CPU time than the peer's in {len(more)} of {len(served)} comparisons."]
