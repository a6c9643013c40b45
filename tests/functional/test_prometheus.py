"""Debian's Prometheus scrapes a real shard and bootstrap, and promtool takes their metrics and the alert rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from blocks import CHECKOUT
from functional.cluster import HOST, PATIENCE, NewCluster, until
from ports import free_port

from pyshard import Pyshard

pytestmark = [
    pytest.mark.functional,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus isn't installed"),
]


def fetched(port: int, path: str) -> str:
    """A page of a port."""
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=PATIENCE) as answer:
        found: bytes = answer.read()
    return found.decode()


def promtool(*arguments: str, text: str = "") -> None:
    """Run promtool, which must have nothing to say against it."""
    command = ["promtool", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus(new_cluster: NewCluster, tmp_path: Path) -> None:
    """It scrapes both kinds of daemons and has their values; no alert is broken."""
    cluster = new_cluster(1, durable=True)
    ports = {"pyshard-bootstrap": free_port(), "pyshard-shard": free_port()}
    cluster.bootstrap.add_option(f"--http={HOST}:{ports['pyshard-bootstrap']}")
    cluster.shards[0].add_option(f"--http={HOST}:{ports['pyshard-shard']}")
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write("a", 1)
    for port in ports.values():
        assert fetched(port, "/readyz") == fetched(port, "/healthz") == "ok\n"
        promtool("check", "metrics", text=fetched(port, "/metrics"))
    promtool("check", "config", str(CHECKOUT / "etc/prometheus/prometheus.yml"))  # which names the rules
    jobs = [{"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in ports.items()]
    config = tmp_path / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
                "rule_files": [str(CHECKOUT / "etc/prometheus/pyshard-alerts.yml")],
                "scrape_configs": jobs,
            }
        )
    )
    web = free_port()
    log = (tmp_path / "prometheus.log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={HOST}:{web}",
        ],
        stdout=log,
        stderr=log,
    )
    try:

        def asked(path: str) -> Any:
            try:
                return json.loads(fetched(web, path))["data"]
            except OSError:  # it doesn't listen yet
                return None

        def values(expression: str) -> list[float]:
            data = asked(f"/api/v1/query?query={expression}")
            return [float(one["value"][1]) for one in data["result"]] if data else []

        written = "pyshard_operations_total%7Bverb=%22write%22,outcome=%22done%22%7D"
        until(
            lambda: values(written) == [1.0] and values("pyshard_shards%7Bstate=%22ready%22%7D") == [1.0], "it scrapes"
        )
        until(lambda: values("up") == [1.0, 1.0], "both are up")

        def rules() -> list[dict[str, Any]]:
            data = asked("/api/v1/rules")
            return [rule for group in data["groups"] for rule in group["rules"]] if data else []

        until(lambda: bool(rules()) and all(rule["health"] != "unknown" for rule in rules()), "rules are evaluated")
        assert {rule["health"] for rule in rules()} == {"ok"}
        assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()
