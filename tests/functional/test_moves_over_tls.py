"""A range moves between real daemons that speak TLS with certificates on both sides, and have tokens."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from certificates import Certificates
from functional.cluster import PATIENCE, NewCluster, until
from functional.shell import shell_on

from pyshard import Pyshard

pytestmark = pytest.mark.functional


def test_a_move_with_certificates_and_tokens(new_cluster: NewCluster, tmp_path: Path) -> None:
    """The target shows its own certificate to the source, and presents its admin token; what moved is read there."""
    made = Certificates(tmp_path)
    lines = {role: f"{role} {secrets.token_urlsafe(32)}\n" for role in ("admin", "write")}
    tokens, writers = tmp_path / "tokens", tmp_path / "writers"
    for path, text in ((tokens, "".join(lines.values())), (writers, lines["write"])):
        path.touch(0o600)
        path.write_text(text)
    cluster = new_cluster(token_file=tokens)
    for daemon in cluster.daemons:
        own = made.issue(daemon.name, "127.0.0.1", "localhost")
        for option, file in (("ca", own.ca), ("certificate", own.certificate), ("key", own.key)):
            daemon.add_option(f"--tls-{option}={file}")
        daemon.start()
    documents = {key: {"key": key} for number in (0, 1) for key in cluster.keys(number, 100)}
    variables = {
        "PYSHARD_TLS_CA": str(made.client.ca),
        "PYSHARD_TLS_CERTIFICATE": str(made.client.certificate),
        "PYSHARD_TLS_KEY": str(made.client.key),
    }
    with Pyshard(cluster.server, token_file=writers, tls=made.client, deadline=PATIENCE) as app:
        until(lambda: {one["state"] for one in app.readiness()} == {"ready"}, "the shards are ready")
        app.write_many(documents)
        pyshard = shell_on(cluster.server, {**cluster.environment, **variables}, cluster.folder)
        ended = pyshard(f"pyshard move 0:0.5 --to b --wait --token-file {tokens}")
        assert ended == (0, "Planned move 1.\nDone.\n", "")
        cluster.shards[0].kill()  # so that it is the target that answers
        assert app.get_many(list(documents)) == list(documents.values())
    for daemon in cluster.daemons:
        assert not [line for line in lines.values() if line.split()[1] in daemon.log()]
