"""The metrics that both daemons have. docs/monitoring.md lists them."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from pyshard.metrics.family import Family, Kind, Sample, Stat, labeled, plain


def _build(stat: Stat) -> Iterable[Sample]:
    return [((stat["version"], platform.python_version(), "true" if stat["compiled"] else "false"), 1)]


DAEMON_FAMILIES = (
    Family(
        "pyshard_build_info",
        Kind.GAUGE,
        "Always 1; the labels say what runs: pyshard's version, Python's, and whether compiled code is in use.",
        _build,
        labels=("version", "python", "compiled"),
    ),
    Family("pyshard_uptime_seconds", Kind.GAUGE, "Time since the start.", plain("uptime"), "seconds"),
    Family("pyshard_ready", Kind.GAUGE, "1 if /readyz says so, else 0.", plain("ready")),
    Family("pyshard_epoch", Kind.GAUGE, "The epoch of the cluster state that it knows.", plain("epoch")),
    Family(
        "pyshard_connections",
        Kind.GAUGE,
        "Connections, by role; none: no token was presented yet.",
        labeled("connections_by_role"),
        labels=("role",),
    ),
    Family(
        "pyshard_connections_opened_total",
        Kind.COUNTER,
        "Connections that got a place.",
        plain("connections_opened"),
    ),
    Family(
        "pyshard_connections_refused_total",
        Kind.COUNTER,
        "Connections that got no place: limit (told so), closed (without a word), handshake (no TLS).",
        labeled("connections_refused"),
        labels=("reason",),
    ),
    Family(
        "pyshard_refusals_total",
        Kind.COUNTER,
        "Commands, and single operations of a batch, that were refused, by the error's code.",
        labeled("refusals"),
        labels=("reason",),
    ),
    Family(
        "pyshard_certificate_expiry_timestamp_seconds",
        Kind.GAUGE,
        "When the daemon's own TLS certificate expires, in seconds since 1970.",
        plain("certificate_expiry"),
        "seconds",
    ),
)
