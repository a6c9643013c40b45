"""The page of the benchmarks says what the figures say."""

from __future__ import annotations

import attrs
import pytest
import report
import results
from blocks import CHECKOUT
from ratios import Round, Sample
from results import Result, Results, Scale


def result(
    name: str, ratio: float, target: float | None = None, durable: bool = False, shape: str | None = None
) -> Result:
    """A comparison in which pyshard did 1,000 operations a second in each round, and the peer so much less."""
    rounds = [Round(Sample(1000, 1.0, 0.002), Sample(1000, ratio * change, 0.001)) for change in (0.9, 1.0, 1.2)]
    named = f"{name}/peer/{'durable' if durable else 'memory'}" + (f"/{shape}" if shape else "")
    return Result(named, name, "the peer", durable, shape, target, rounds)


def run(*comparisons: Result, scales: tuple[Scale, ...] = ()) -> Results:
    """A run that found these."""
    machine, versions = [("processor", "an abacus")], [("pyshard", "0.3.0")]
    return Results("2026-01-02", 600.0, machine, versions, 3, 1000, list(comparisons), list(scales))


def section(page: str, title: str) -> str:
    """What stands under a title of a page; empty when it has none of that name."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_losses() -> None:
    """Every comparison that is lost stands in the section on losses, the worst first; one that is won doesn't."""
    page = report.page(run(result("sorting", 0.8), result("adding", 2.0), result("counting", 0.4, durable=True)))
    lines = section(page, "Where pyshard loses").strip().splitlines()
    assert lines[0] == "In 2 of 3 comparisons pyshard is slower than its peer:"
    assert lines[2:4] == [
        "- counting, durable: 0.40 of the speed of the peer",
        "- sorting, in memory: 0.80 of the speed of the peer",
    ]
    assert "adding" not in "".join(lines)


def test_no_losses() -> None:
    """Where nothing is lost, that is what the page says; what is nearly equal is called so."""
    text = section(report.page(run(result("sorting", 0.97), result("adding", 2.0))), "Where pyshard loses")
    assert "In none of 2 comparisons" in text
    assert "About equal, within 5%: sorting, in memory (the peer)." in text


def test_more_cpu() -> None:
    """That the servers of pyshard use more CPU time is among the losses."""
    assert "in 1 of 1 comparisons" in section(report.page(run(result("sorting", 2.0))), "Where pyshard loses")


@pytest.mark.parametrize(("ratio", "reached"), [(1.5, "yes"), (1.49, "**no**"), (7.0, "yes")])
def test_targets(ratio: float, reached: str) -> None:
    """A target stands beside the measured ratio, with its spread, and whether it is reached."""
    text = section(report.page(run(result("sorting", ratio, target=1.5), result("adding", 3.0))), "The targets")
    assert f"This run reaches {int(reached == 'yes')} of 1." in text
    spread = f"{ratio:.2f} ({ratio * 0.9:.2f} – {ratio * 1.2:.2f})"
    assert f"| sorting | the peer | 1.5 | {spread} |  | {reached} |" in text
    assert "adding" not in text


@pytest.mark.parametrize(("nested", "reached"), [(0.6, "yes"), (0.59, "**no**")])
def test_worst_shape(nested: float, reached: str) -> None:
    """A shape that by itself has too little keeps a target from being reached; the worst one stands beside it."""
    found = [
        result("sorting", 2.0, target=1.0, shape="mix"),
        result("sorting", 0.9, target=0.6, shape="flat"),
        result("sorting", nested, target=0.6, shape="nested"),
        result("sorting", 0.1, target=0.6, shape="wide", durable=True),
    ]
    text = section(report.page(run(*found)), "The targets")
    assert f"This run reaches {int(reached == 'yes')} of 1." in text
    worst = f"nested: {nested:.2f} ({nested * 0.9:.2f} – {nested * 1.2:.2f})"
    assert f"| sorting | the peer | 1 | 2.00 (1.80 – 2.40) | {worst} | {reached} |" in text


def test_shapes() -> None:
    """Each shape has a column, beside all of them together; one that wasn't measured leaves its place empty."""
    found = [result("sorting", 2.0, shape="mix"), result("sorting", 0.9, shape="wide"), result("adding", 1.0)]
    text = section(report.page(run(*found)), "Shape by shape")
    assert "| workload | peer | all together | int | str | flat | nested | page | wide | unicode |" in text
    assert "| sorting | the peer | 2.00 |  |  |  |  |  | 0.90 |  |" in text
    assert "adding" not in text


def test_shapes_are_no_comparisons() -> None:
    """A shape by itself is no row of the tables of all comparisons; where it alone loses, that is said."""
    page = report.page(run(result("sorting", 2.0, shape="mix"), result("sorting", 0.8, shape="wide")))
    assert section(page, "In memory").count("| sorting |") == 1
    text = section(page, "Where pyshard loses")
    assert "In none of 1 comparisons" in text
    assert "- sorting, in memory, the peer: wide (0.80)" in text


@pytest.mark.parametrize(("ours", "reached"), [(260.0, "yes"), (261.0, "**no**")])
def test_memory(ours: float, reached: str) -> None:
    """The target for memory goes by the step with two shards and the most documents."""
    steps = (
        Scale(1000, 2, 10.0, 200.0, [result("sorting", 2.0)]),
        Scale(9000, 2, ours, 200.0, [result("sorting", 2.0)]),
        Scale(1000, 4, 1.0, 200.0, [result("sorting", 2.0)]),
    )
    page = report.page(run(scales=steps))
    assert f"| at most 1.3 | {ours / 200:.2f} |  | {reached} |" in section(page, "The targets")
    assert f"{ours / 200:.2f} times the memory" in section(page, "Where pyshard loses")


def test_scaling() -> None:
    """Documents vary with two shards in one table, shards with the usual documents in the other."""
    steps = (
        Scale(1000, 2, 100.0, 200.0, [result("write-many", 2.0)]),
        Scale(9000, 2, 150.0, 200.0, [result("write-many", 3.0)]),
        Scale(1000, 4, 120.0, 200.0, [result("write-many", 4.0)]),
    )
    text = section(report.page(run(scales=steps)), "From few documents to many, from one shard to several")
    assert "| two shards | 1,000 documents | 9,000 documents |" in text
    assert "| write-many | 1,000 (2.00) | 1,000 (3.00) |" in text
    assert "| memory | 100 (0.50) | 150 (0.75) |" in text
    assert "| 1,000 documents | 2 shards | 4 shards |" in text
    assert "| write-many | 1,000 (2.00) | 1,000 (4.00) |" in text
    assert "| CPU of write-many | 2.0 | 2.0 |" in text


def test_skipped() -> None:
    """What was skipped is named with the reason, and counts for nothing else."""
    skipped = attrs.evolve(result("sorting", 0.1, target=1.0), rounds=[], skipped="there is no peer")
    step = Scale(1000, 2, 0.0, 0.0, [], "there is no Redis")
    page = report.page(run(skipped, result("adding", 2.0), scales=(step,)))
    assert section(page, "What was skipped").strip().splitlines() == [
        "- sorting/peer/memory: there is no peer",
        "- 1,000 documents on 2 shards: there is no Redis",
    ]
    assert "In none of 1 comparisons" in page
    assert section(page, "The targets") == ""


def test_no_servers() -> None:
    """Where the peer has no servers, the page gives no CPU time for them, and compares none."""
    found = attrs.evolve(result("sorting", 2.0), rounds=[Round(Sample(1000, 1.0, 0.002), Sample(1000, 2.0, None))])
    page = report.page(run(found))
    assert "| 2.0 | – |" in section(page, "In memory")
    assert "CPU time" not in section(page, "Where pyshard loses")


def test_pinned() -> None:
    """What processors of their own change stands beside what the system's placement gave, and is no comparison more."""
    usual = run(result("sorting", 2.0, target=3.0, shape="mix"), result("adding", 1.0))
    found = attrs.evolve(usual, variants={"pinned": [result("sorting", 3.0, target=3.0, shape="mix")]})
    text = section(report.page(found), "With processors of their own")
    assert "| sorting | the peer | 2.00 (1.80 – 2.40) | 3.00 (2.70 – 3.60) |" in text
    assert "adding" not in text
    assert "This run reaches 0 of 1." in report.page(found)
    assert section(report.page(usual), "With processors of their own") == ""


@pytest.mark.parametrize(("adding", "reached"), [(1.5, "yes"), (1.49, "**no**")])
def test_without_compiler(adding: float, reached: str) -> None:
    """Half of each ratio has to be left in plain Python; the table has each, the targets the worst of them."""
    usual = run(result("sorting", 2.0), result("adding", 3.0))
    found = attrs.evolve(usual, variants={"plain": [result("sorting", 1.6), result("adding", adding)]})
    page = report.page(found)
    text = section(page, "Without a compiler")
    assert "| sorting | the peer | 2.00 (1.80 – 2.40) | 1.60 (1.44 – 1.92) | 0.80 |" in text
    least = f"{adding / 3:.2f}"
    figures = f"{(0.8 + adding / 3) / 2:.2f} ({least} – 0.80)"
    row = (
        f"| all of these without a compiler | the same with compiled code | 0.5 | {figures} | adding, the peer: {least}"
    )
    assert f"{row} | {reached} |" in section(page, "The targets")
    assert section(report.page(usual), "Without a compiler") == ""


def test_whole_page_of_nothing() -> None:
    """A run in which everything was skipped has a page, too."""
    assert "In none of 0 comparisons" in report.page(run())


def test_results_in_a_file() -> None:
    """Results are the same when they come from their file."""
    step = Scale(1000, 2, 100.0, 200.0, [result("adding", 3.0)])
    given = run(result("sorting", 0.5, target=1.0), scales=(step,))
    assert results.from_json(results.to_json(given)) == given


def test_page_in_docs() -> None:
    """docs/benchmarks.md is what its figures, docs/benchmarks.json, make; `--from docs/benchmarks.json` repairs it."""
    given = results.from_json((CHECKOUT / "docs" / "benchmarks.json").read_bytes())
    assert (CHECKOUT / "docs" / "benchmarks.md").read_text(encoding="utf-8") == report.page(given)
    assert (CHECKOUT / "docs" / "benchmarks.png").exists()
    assert len(given.ran()) == len(given.comparisons)
