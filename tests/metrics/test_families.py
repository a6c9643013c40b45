"""Metrics keep Prometheus' rules, and the docs, the dashboard and the alert rules name those that exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from blocks import CHECKOUT

from pyshard.metrics.bootstrap_families import BOOTSTRAP_FAMILIES
from pyshard.metrics.daemon_families import DAEMON_FAMILIES
from pyshard.metrics.family import Family, Kind
from pyshard.metrics.shard_families import SHARD_FAMILIES

ALL = {family.name: family for family in (*SHARD_FAMILIES, *BOOTSTRAP_FAMILIES)}

#: What prometheus_client tells of the process.
PROCESS = {
    "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
    "process_start_time_seconds", "process_open_fds", "process_max_fds",
}  # fmt: skip


@pytest.mark.parametrize("family", ALL.values(), ids=lambda family: family.name)
def test_names(family: Family) -> None:
    """A name has its unit at its end, a counter's ends in total, and a text is one sentence."""
    assert re.fullmatch(r"pyshard(_[a-z]+)+", family.name)
    assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
    if family.unit:
        assert family.name.removesuffix("_total").endswith(f"_{family.unit}")
    assert family.text.endswith(".")
    assert not {"key", "peer", "address", "document"} & set(family.labels)


def test_no_name_twice() -> None:
    """Each metric is declared once for a daemon."""
    for families in (SHARD_FAMILIES, BOOTSTRAP_FAMILIES):
        assert len({family.name for family in families}) == len(families)


def test_page() -> None:
    """docs/monitoring.md has each metric with its type, labels, unit and text, where it belongs."""
    text = (CHECKOUT / "docs/monitoring.md").read_text(encoding="utf-8")
    both = len(DAEMON_FAMILIES)
    for title, families in (
        ("of both daemons", DAEMON_FAMILIES),
        ("of a shard", SHARD_FAMILIES[both:]),
        ("of a bootstrap", BOOTSTRAP_FAMILIES[both:]),
    ):
        section = text.partition(f"\n## Metrics {title}\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*?)\|(.*?)\| (.*) \|$", section, re.MULTILINE)
        assert [
            (name, kind, tuple(re.findall(r"\w+", labels)), unit.strip(), what)
            for name, kind, labels, unit, what in rows
        ] == [(family.name, family.kind.value, family.labels, family.unit, family.text) for family in families]
    assert set(re.findall(r"`(process_\w+)`", text)) == PROCESS


def named(text: str) -> set[str]:
    """The metrics that an expression names, without the suffixes of histograms."""
    names = set(re.findall(r"\b(?:pyshard|process)_\w+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_dashboard() -> None:
    """The dashboard names only metrics that exist, and has no panel without a text."""
    board: Any = json.loads((CHECKOUT / "etc/grafana/pyshard.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    found = named(" ".join(target["expr"] for panel in panels for target in panel["targets"]))
    assert found <= ALL.keys() | PROCESS
    assert len(found) > 15
    assert all(panel["description"] for panel in panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_alerts() -> None:
    """The alert rules name only metrics that exist, each with a line on what to do."""
    text = (CHECKOUT / "etc/prometheus/pyshard-alerts.yml").read_text(encoding="utf-8")
    alerts = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    for alert in alerts:
        assert re.search(r"^          action: \S", alert, re.MULTILINE), alert
        assert re.search(r"^          summary: \S", alert, re.MULTILINE), alert
    assert named(text) <= ALL.keys() | PROCESS


def test_what_slows_writers_is_watched() -> None:
    """The dashboard shows it, and there are alerts of it: who writes is only told to send again."""
    metrics = {"pyshard_slowed_writers_seconds_total", "pyshard_copies_begun"}
    for path in ("etc/grafana/pyshard.json", "etc/prometheus/pyshard-alerts.yml"):
        assert metrics <= named((CHECKOUT / path).read_text(encoding="utf-8"))
