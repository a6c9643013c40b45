"""What daemons tell by HTTP, and whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from twisted.internet.task import Clock

from pyshard.http.bounded_site import BoundedSite
from pyshard.http.daemon_site import daemon_root
from pyshard.http.token_guard import TokenGuard
from pyshard.metrics.shard_families import SHARD_FAMILIES
from pyshard.security.tokens_and_roles import Role, Tokens, parse
from pyshard.testing import MemoryCluster

TOKENS = parse("read readers-secret-16\nadmin admins-secret-16x\n")


class Daemon:
    """A daemon that says what a test wants."""

    families = SHARD_FAMILIES

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.wrong = self.why = ""

    def stat(self) -> dict[str, object]:
        """What a real shard says."""
        return self.cluster.services["shard0"].stat()

    def unhealthy(self) -> str:
        """What a test has set."""
        return self.wrong

    def unready(self) -> str:
        """What a test has set."""
        return self.why


@pytest.fixture
def daemon() -> Any:
    """A daemon over a shard in memory."""
    with MemoryCluster() as cluster:
        yield Daemon(cluster)


def get(daemon: Daemon, path: str, tokens: Tokens | None = None, **headers: str) -> tuple[int, str, str]:
    """Code, content type and body."""
    from twisted.internet.testing import StringTransport

    site = BoundedSite(daemon_root(daemon, TokenGuard(None if tokens is None else lambda: tokens)), Clock())
    channel, transport = site.buildProtocol(None), StringTransport()
    channel.makeConnection(transport)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    head, _, body = bytes(transport.value()).decode().partition("\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    return int(head.split()[1]), fields["Content-Type"], body


def test_metrics(daemon: Daemon) -> None:
    """In Prometheus' text, or OpenMetrics where that is asked for: the same values, which are those of `stat`."""
    client = daemon.cluster.connect()
    daemon.cluster.run(client.write_many((f"key{number}", number) for number in range(20)))
    code, kind, body = get(daemon, "/metrics")
    assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name: family for family in plain_text(body)}
    written = daemon.stat()["verbs"]["write"]["done"]  # type: ignore[index]  # an object
    assert written > 5
    samples = families["pyshard_operations"].samples
    assert [one.value for one in samples if one.labels == {"verb": "write", "outcome": "done"}] == [written]
    buckets = [one for one in families["pyshard_batch_duration_seconds"].samples if one.labels["kind"] == "change"]
    values = [one.value for one in buckets if one.name.endswith("_bucket")]
    assert values == sorted(values)
    assert values[-1] == next(one.value for one in buckets if one.name.endswith("_count")) > 0
    code, kind, other = get(daemon, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in openmetrics(other)} == set(families)


def test_stat_as_json(daemon: Daemon) -> None:
    """It is what the command gives."""
    code, kind, body = get(daemon, "/stat.json")
    assert (code, kind) == (200, "application/json")
    assert json.loads(body).keys() == daemon.stat().keys()


def test_health(daemon: Daemon) -> None:
    """Health and readiness are told with a reason, and nothing else."""
    assert get(daemon, "/healthz")[::2] == get(daemon, "/readyz")[::2] == (200, "ok\n")
    daemon.wrong, daemon.why = "the disk takes no changes", "not configured yet"
    assert get(daemon, "/healthz")[::2] == (503, "the disk takes no changes\n")
    assert get(daemon, "/readyz")[::2] == (503, "not configured yet\n")


@pytest.mark.parametrize("path", ["/metrics", "/stat.json"])
def test_tokens(daemon: Daemon, path: str) -> None:
    """Where there are tokens, figures are for whoever presents one; health is for everybody."""
    assert get(daemon, path, TOKENS)[0] == 401
    for wrong in ("Bearer wrong", "Basic readers-secret-16", "readers-secret-16", f"Bearer {'x' * 2000}", "Bearer"):
        code, _, body = get(daemon, path, TOKENS, Authorization=wrong)
        assert (code, body) == (401, "this wants a token of this daemon: Authorization: Bearer TOKEN\n")
    assert get(daemon, path, TOKENS, Authorization="Bearer readers-secret-16")[0] == 200
    assert get(daemon, path, TOKENS, Authorization="bearer admins-secret-16x")[0] == 200
    assert get(daemon, "/healthz", TOKENS)[0] == get(daemon, "/readyz", TOKENS)[0] == 200


def test_two_tokens(daemon: Daemon) -> None:
    """Whoever presents two has presented none."""
    assert TokenGuard(None)._tokens is None
    assert Role.READ < Role.ADMIN
    code, _, _ = get(daemon, "/metrics", TOKENS, Authorization="Bearer readers-secret-16", AUTHORIZATION="Bearer x")
    assert code == 401
