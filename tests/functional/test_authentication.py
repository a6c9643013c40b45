"""A cluster of real daemons with a token file: roles, the exchange of a token, and no secret in a log."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from functional.cluster import HOST
from functional.test_cli import COMMAND, Up

from pyshard import Pyshard
from pyshard.errors import NotAuthenticated, PermissionDenied

pytestmark = pytest.mark.functional

SECRETS = {role: f"{role}-secret-0123456789" for role in ("admin", "write", "read")}


def token_file(path: Path, *lines: str) -> Path:
    """A token file that only its owner can read, put in place of the one that is there."""
    beside = path.with_name(path.name + ".new")
    beside.touch(0o600)
    beside.write_text("\n".join(lines) + "\n")
    return beside.replace(path)


def own(folder: Path, role: str) -> Path:
    """A client's file."""
    return token_file(folder / f"{role}.token", f"{role} {SECRETS[role]}")


@pytest.fixture
def up(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Up]:
    """A running cluster that wants tokens."""
    token_file(tmp_path / "tokens", *(f"{role} {secret}" for role, secret in SECRETS.items()))
    running = Up(tmp_path, environment, "--run-dir=run", "--token-file=tokens")
    try:
        running.wait_ready()
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


def test_a_cluster_with_tokens(up: Up, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each role may do what it may; a token is exchanged while its holder works; no secret stands in any log."""
    monkeypatch.delenv("PYSHARD_TOKEN_FILE", raising=False)
    server = f"{HOST}:{up.bootstrap}"
    began = time.monotonic()
    with pytest.raises(NotAuthenticated, match="PYSHARD_TOKEN_FILE"):
        Pyshard(server)
    assert time.monotonic() - began < 5  # at once, not at the deadline
    stranger = token_file(up.folder / "stranger", "admin stranger-0123456789")
    with pytest.raises(NotAuthenticated):
        Pyshard(server, token_file=stranger)
    ended = subprocess.run(
        [*COMMAND, "--bootstrap", server, "read", "test"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (5, "", 1)

    writing, reading = own(up.folder, "write"), own(up.folder, "read")
    with Pyshard(server, token_file=writing) as writer, Pyshard(server, token_file=reading) as reader:
        assert writer.write_many({"test": 1, "test1": 2}) == [28, 28]
        assert reader.read("test") == {"hash_": 0.1671936, "record": 1}
        with pytest.raises(PermissionDenied):
            reader.write("test", 3)
        with pytest.raises(PermissionDenied):
            reader.create_index("pages")
        writer.create_index("pages")
        with pytest.raises(PermissionDenied):
            writer.drop_index("pages")
        assert reader.read("test") == {"hash_": 0.1671936, "record": 1}

        # Another token for writers, without a pause: first both are valid, then the new one alone.
        lines = [f"admin {SECRETS['admin']}", f"read {SECRETS['read']}", "write another-secret-012345"]
        token_file(up.folder / "tokens", *lines, f"write {SECRETS['write']}")
        time.sleep(1.1)
        assert writer.write("test", 4) == 28
        token_file(writing, "write another-secret-012345")
        token_file(up.folder / "tokens", *lines)
        time.sleep(1.1)
        assert writer.write("test", 5) == 28
        up.kill("a")
        up.kill("b")
        assert writer.write("test", 6, deadline=20) == 28
        with pytest.raises(NotAuthenticated):
            Pyshard(server, token_file=own(up.folder, "write"))

    for log in (up.folder / "run").glob("*.log"):
        text = log.read_text()
        assert not [secret for secret in (*SECRETS.values(), "another-secret", "stranger-01") if secret in text], log
    assert "wrong token" in (up.folder / "run" / "bootstrap.log").read_text()
