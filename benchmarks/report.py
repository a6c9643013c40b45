"""Makes the page docs/benchmarks.md from the results of a run. Pure.

Rules:

- every sentence that depends on a figure is made from it, so the page claims only what the run found;
- a comparison that was skipped is named, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results import Result, Results, Scale

#: The most that a document may take in memory, compared with Redis.
BYTES_TARGET = 1.5

#: The workloads that keep the shards busy: the tables of the scaling give their CPU time, too.
_WITH_CPU = ("write-many", "read-many", "write-in-flight", "read-in-flight")

#: How far a ratio may be from 1 and still count as equal.
_EQUAL = 0.05


def page(results: Results) -> str:
    """The whole page, in Markdown."""
    parts = [
        _head(results),
        _targets(results),
        "![The ratios, and how they move](benchmarks.png)",
        _losses(results),
        *(_all_comparisons(results, durable) for durable in (False, True)),
        _scales(results),
        _skipped(results),
        _METHOD,
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
            f"| documents in the stores | {results.documents:,}, of about 90 bytes |",
        ]
    )


def _rounds(results: Results) -> str:
    """How many rounds there were: fewer where they took long."""
    found = {len(result.rounds) for result in results.ran()} or {results.rounds}
    return f"{min(found)} to {max(found)}" if len(found) > 1 else f"{max(found)}"


def _targets(results: Results) -> str:
    rows = [
        [
            f"{result.workload}{', durable' if result.durable else ''}",
            result.peer,
            f"{result.target:g}",
            _ratio(result),
            "yes" if result.met else "**no**",
        ]
        for result in results.ran()
        if result.target is not None
    ]
    largest = _largest(results)
    if largest is not None:
        ratio = largest.bytes_ratio
        rows.append(
            [
                f"resident memory per document, {largest.documents:,} of them in memory",
                "one Redis",
                f"at most {BYTES_TARGET:g}",
                f"{ratio:.2f}",
                "yes" if ratio <= BYTES_TARGET else "**no**",
            ]
        )
    if not rows:
        return ""
    reached = sum(row[-1] == "yes" for row in rows)
    return "\n".join(
        [
            "## The targets",
            "",
            f"This run reaches {reached} of {len(rows)}. pyshard has two shards; in memory, unless it says durable.",
            "",
            *_table(["workload", "peer", "target", "ratio", "reached"], rows),
        ]
    )


def _losses(results: Results) -> str:
    ran = results.ran()
    lost = [result for result in ran if result.outcome.ratio.median < 1 - _EQUAL]
    lost.sort(key=lambda result: result.outcome.ratio.median)
    even = [result for result in ran if abs(result.outcome.ratio.median - 1) <= _EQUAL]
    lines = ["## Where pyshard loses", ""]
    if lost:
        lines += [
            f"In {len(lost)} of {len(ran)} comparisons pyshard is slower than its peer:",
            "",
            *(
                f"- {result.workload}, {_store(result)}: {result.outcome.ratio.median:.2f} of the speed of "
                f"{result.peer}"
                for result in lost
            ),
        ]
    else:
        lines.append(f"In none of {len(ran)} comparisons is pyshard slower than its peer.")
    if even:
        named = "; ".join(f"{result.workload}, {_store(result)} ({result.peer})" for result in even)
        lines += ["", f"About equal, within {_EQUAL:.0%}: {named}."]
    largest = _largest(results)
    if largest is not None and largest.bytes_ratio > 1 + _EQUAL:
        lines += [
            "",
            f"A document takes {largest.bytes_ratio:.2f} times the memory that it takes in Redis: "
            f"{largest.our_bytes:.0f} bytes, and {largest.peers_bytes:.0f} there.",
        ]
    more = [result for result in ran if result.outcome.our_cpu > result.outcome.peers_cpu]
    if more:
        lines += [
            "",
            f"The servers of pyshard use more CPU time than the peer's in {len(more)} of {len(ran)} comparisons.",
        ]
    return "\n".join(lines)


def _all_comparisons(results: Results, durable: bool) -> str:
    chosen = [result for result in results.ran() if result.durable == durable]
    if not chosen:
        return ""
    head = (
        "## Durable: what is acknowledged is on the disk\n\n"
        "pyshard's shards with `--data-dir` and their default, fsync; Redis with `appendfsync always`."
        if durable
        else "## In memory"
    )
    rows = [
        [
            result.workload,
            result.peer,
            _ratio(result),
            f"{result.outcome.ours:,.0f}",
            f"{result.outcome.peers:,.0f}",
            f"{result.outcome.our_cpu:.1f}",
            f"{result.outcome.peers_cpu:.1f}",
        ]
        for result in chosen
    ]
    titles = ["workload", "peer", "ratio", "pyshard, per second", "peer", "CPU s per million: pyshard", "peer"]
    return "\n".join([head, "", *_table(titles, rows)])


def _scales(results: Results) -> str:
    by_documents, by_shards = by_axis(results)
    if not by_documents and not by_shards:
        return ""
    lines = [
        "## From few documents to many, from one shard to several",
        "",
        "Operations per second of pyshard, in memory; in parentheses the ratio to one Redis with as many documents.",
        "The rows on memory have resident bytes per document, and in parentheses their ratio to those of Redis.",
        "CPU is seconds of all shards per million operations. The shards share what processors are not the client's.",
    ]
    if by_documents:
        titles = [f"{scale.documents:,} documents" for scale in by_documents]
        lines += ["", *_table(["two shards", *titles], _scale_rows(by_documents))]
    if by_shards:
        titles = [f"{scale.shards} shard{'s' if scale.shards > 1 else ''}" for scale in by_shards]
        lines += ["", *_table([f"{by_shards[0].documents:,} documents", *titles], _scale_rows(by_shards))]
    return "\n".join(lines)


def by_axis(results: Results) -> tuple[list[Scale], list[Scale]]:
    """The scales along each axis.

    :return: those with two shards, by documents; and those with the usual number of documents, by shards.
    """
    done = [scale for scale in results.scales if scale.results]
    by_documents = sorted((scale for scale in done if scale.shards == 2), key=lambda scale: scale.documents)
    by_shards = sorted(
        (scale for scale in done if scale.documents == results.documents), key=lambda scale: scale.shards
    )
    return by_documents, by_shards


def _scale_rows(scales: Sequence[Scale]) -> list[list[str]]:
    rows = []
    for place, first in enumerate(scales[0].results):
        found = [scale.results[place].outcome for scale in scales]
        rows.append([first.workload, *(f"{scale.ours:,.0f} ({scale.ratio.median:.2f})" for scale in found)])
        if first.verb in _WITH_CPU:
            rows.append([f"CPU of {first.workload}", *(f"{scale.our_cpu:.1f}" for scale in found)])
    rows.append(["memory", *(f"{scale.our_bytes:.0f} ({scale.bytes_ratio:.2f})" for scale in scales)])
    return rows


def _skipped(results: Results) -> str:
    lines = [f"- {result.name}: {result.skipped}" for result in results.comparisons if result.skipped]
    lines += [
        f"- {scale.documents:,} documents on {scale.shards} shards: {scale.skipped}"
        for scale in results.scales
        if scale.skipped
    ]
    return "\n".join(["## What was skipped", "", *lines]) if lines else ""


def _largest(results: Results) -> Scale | None:
    """The scale whose memory the page reports: two shards, most documents."""
    by_documents, _ = by_axis(results)
    return by_documents[-1] if by_documents else None


def _store(result: Result) -> str:
    return "durable" if result.durable else "in memory"


def _ratio(result: Result) -> str:
    ratio = result.outcome.ratio
    return f"{ratio.median:.2f} ({ratio.least:.2f} – {ratio.most:.2f})"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


_METHOD = """\
## How it is measured

- The servers of every side are processes of their own on loopback, started for the run: pyshard's daemons by
  `twistd`, from the installed package; Redis without snapshots, and with its append-only file where it must be
  durable; memcached with one thread a server. All clients run in the process that measures. Only the original
  pyshard, whose package has the same name, has an environment of its own, with a worker that times its calls.
- Both sides store the same documents under the same keys in the same order. The peers are used as their own users
  would: documents are encoded and decoded by msgspec's MessagePack, called directly, which checks and measures nothing.
  pyshard does that by itself, and its time counts. The original uses JSON; it can't do otherwise.
- A round is pyshard, then its peer, with the same calls, after one round of each to warm up. Documents, keys and
  their order are made before the clock starts. Whatever else the machine does in a round slows both sides, so the
  ratio stays while the rates move.
- The client's process has one processor to itself, where there are several, and all servers share the others. Left to
  the system (`--together`), a server that is woken often takes the client's processor from it, and rates jump between
  rounds, on both sides.
- Values are checked on both sides: every document that was read is compared with the expected one, and one written
  document in twenty is read back. The version in each document is the round's number. A wrong value ends the run.
- *Bulk* is 1,000 documents a call: `write_many` and `read_many`, MSET and MGET, `mset_nonatomic` and `mget_nonatomic`
  of redis-py's cluster client, `set_many` and `get_many` of pymemcache.
- *500 in flight*: a Deferred client, in a process with the epoll reactor. Each answer is decoded, and makes the
  next call. *On asyncio* it is an asyncio client on the loop that Python has, and 500 tasks that await their calls.
- *16 threads* share one client, and each makes one call at a time.
- *YCSB*: its core mixes, by 16 threads that share one client, over 10,000 documents of ten fields of a hundred
  characters. Keys are zipfian with YCSB's constant, 0.99, and scattered by its hash; in mix D the newest ones are the
  most popular. A write stores the whole document. A read-modify-write counts as one operation.
- *CPU* is the user and system time of the processes that store documents, from /proc, which counts in hundredths of a
  second. *Memory* is how much their resident memory grows while an empty store takes all documents.
- The stock AMP echo stores nothing: it shows the cost of a call that is an AMP box of its own."""
