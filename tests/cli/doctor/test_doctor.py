"""`doctor` on a cluster in memory: what it gathers, prints, and how it ends."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import HOST, Certificates
from in_process_command import Commands

from pyshard.cli.doctor import gathering
from pyshard.cli.doctor.address_probe import probe
from pyshard.cli.doctor.evidence import AddressEvidence
from pyshard.cli.doctor.findings import CheckVerdict, Finding
from pyshard.cli.doctor.gathering import in_threads
from pyshard.cli.doctor.machine_look import certificate_end, directory_evidence
from pyshard.cli.doctor.report import painted, report_lines
from pyshard.security.tls import Tls
from pyshard.security.tls.ssl_context import dialing_context


def test_a_good_cluster(pyshard: Commands) -> None:
    """Each line begins with PASS, and the exit code is 0."""
    ended = pyshard("doctor")
    assert (ended.code, ended.error) == (0, "")
    *lines, last = ended.out.splitlines()
    assert {line.split()[0] for line in lines} == {"PASS"}
    assert [line.split()[1] for line in lines] == [
        "map", "addresses", "reach", "identities", "epochs", "versions", "clocks", "spread", "moves", "state",
        "replicas", "limits", "writers", "connections",
    ]  # fmt: skip
    assert last == "0 failed, 0 to look after, 14 passed."


def test_a_shard_that_is_down(pyshard: Commands) -> None:
    """The others are checked all the same; the exit code is 1."""
    pyshard.cluster.kill_shard("shard1")
    ended = pyshard("doctor", "--json", "--deadline", "4")
    assert (ended.code, ended.error) == (1, "")
    found = json.loads(ended.out)
    assert found["verdict"] == "FAIL"
    failed = [one for one in found["findings"] if one["verdict"] != "PASS"]
    assert [(one["check"], one["subject"]) for one in failed] == [("reach", "shard 'shard1' at 127.0.0.1:5051")]
    assert all(set(one) == {"check", "verdict", "subject", "text", "cure"} for one in found["findings"])
    assert "epochs" in {one["check"] for one in found["findings"]}


def test_no_cluster(pyshard: Commands) -> None:
    """Without a map that is what has failed, and the files are looked at."""
    pyshard.cluster.stop_bootstrap()
    ended = pyshard("doctor", "--secret", "/no/file")
    assert ended.code == 1
    assert [line.split()[:2] for line in ended.out.splitlines() if line[0] != " "] == [
        ["FAIL", "map"], ["PASS", "addresses"], ["FAIL", "files"], ["2", "failed,"],
    ]  # fmt: skip


def test_strict(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning ends with 0, and with 1 where that is wanted."""
    assert pyshard("doctor", "--strict").code == 0
    monkeypatch.setattr(gathering, "__version__", "0.0")
    ended = pyshard("doctor")
    assert ended.code == 0
    assert "WARN  versions     this command: it is pyshard 0.0" in ended.out
    assert pyshard("doctor", "--strict").code == 1


def test_token_file_of_others(pyshard: Commands, tmp_path: Path) -> None:
    """A token file that others can read has failed, and the rest is checked."""
    path = tmp_path / "tokens"
    path.write_text("admin a-secret-that-is-long-enough\n")
    path.chmod(0o644)
    ended = pyshard("doctor", "--token-file", str(path))
    assert ended.code == 1
    assert f"token file {path}: found mode 0644" in ended.out
    assert "a-secret" not in ended.out
    path.chmod(0o600)
    ended = pyshard("doctor", "--token-file", str(path), "--data-dir", str(tmp_path))
    assert ended.code == 0
    assert "and a sync takes" in ended.out
    assert list(tmp_path.iterdir()) == [path]


def test_directory_that_is_not_there(tmp_path: Path) -> None:
    """It is said why a directory can't be looked at."""
    assert (
        directory_evidence(tmp_path / "none", lambda: 0.0).error == "it can't be written to: no such file or directory"
    )


def test_in_threads() -> None:
    """What is done in time is there, in order; what isn't is named, and nobody waits for it."""
    block = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            block.wait(30)
        return number * 10

    done, undone = in_threads(work, [0, 1, 2], lambda: 0.2)
    assert (done, undone) == ([0, 20], [1])
    block.set()
    assert in_threads(work, [], lambda: 0.2) == ([], [])


def test_in_threads_when_the_time_is_over() -> None:
    """However many there are, those that were begun by then are the last."""
    left = [1.0]
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        left[0] -= 0.3
        return number

    done, undone = in_threads(work, range(1000), lambda: left[0])
    assert len(begun) <= 4 + gathering._AT_ONCE
    assert set(done) <= set(begun)
    assert sorted([*done, *undone]) == list(range(1000))


def test_report() -> None:
    """A line for each finding, with its cure; what is too long goes on below."""
    findings = [
        Finding("limits", CheckVerdict.WARN, "word " * 20, "shard a", "do something"),
        Finding("map", CheckVerdict.PASS, "fine"),
    ]
    lines = report_lines(findings, 80)
    assert lines[0].startswith("WARN  limits       shard a: word")
    assert max(map(len, lines)) <= 80
    assert lines[-3:] == [
        "                   → do something",
        "PASS  map          fine",
        "0 failed, 1 to look after, 1 passed.",
    ]
    assert [painted(line)[:9] for line in lines] == [
        "\x1b[33mWARN",
        *(line[:9] for line in lines[1:-2]),
        "\x1b[32mPASS",
        lines[-1][:9],
    ]


def test_words_of_a_daemon() -> None:
    """What a daemon words can't do anything to the terminal."""
    finding = Finding(
        "versions", CheckVerdict.WARN, "it runs pyshard \x1b[2J", "shard \x07a", "install the \x9b other one"
    )
    assert not any(not line.isprintable() for line in report_lines([finding], 80))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Files of TLS."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def served(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[int, Tls]]:
    """The port of a server that shows a certificate, valid so long; and what a client trusts."""
    own = certificates.issue("server", HOST, since=timedelta(days=-2), until=request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert own.certificate is not None
    context.load_cert_chain(own.certificate, own.key)

    def serve() -> None:
        plain, _ = server.accept()
        with plain:
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                return

    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], Tls(certificates.ca)
        thread.join(30)


@pytest.mark.parametrize("served", [timedelta(days=20)], indirect=True)
def test_certificate(served: tuple[int, Tls], certificates: Certificates) -> None:
    """The end of a certificate is that in its file."""
    port, tls = served
    found = probe(AddressEvidence("shard a", HOST), port, dialing_context(tls), 5)
    assert (found.error, found.certificate_error, found.resolved) == ("", "", (HOST,))
    assert found.certificate_end == certificate_end(certificates.ca.with_name("server.pem"))


@pytest.mark.parametrize("served", [timedelta(days=-1)], indirect=True)
def test_expired_certificate(served: tuple[int, Tls]) -> None:
    """A certificate that has expired is said to have."""
    port, tls = served
    found = probe(AddressEvidence("shard a", HOST), port, dialing_context(tls), 5)
    assert found.certificate_error == "its certificate isn't trusted: certificate has expired"


def test_shard_that_is_down(certificates: Certificates) -> None:
    """Where nobody listens, or answers, nothing is wrong with a certificate."""
    context = dialing_context(Tls(certificates.ca))
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        silent = probe(AddressEvidence("shard a", HOST), port, context, 0.1)
    down = probe(AddressEvidence("shard a", HOST), port, context, 5)
    for found in (silent, down):
        assert (found.error, found.resolved) == ("", (HOST,))
        assert (found.certificate_error, found.certificate_end) == ("", None)


def test_no_tls_there(certificates: Certificates) -> None:
    """Who answers, and doesn't speak TLS, shows no certificate: that is wrong."""

    def serve() -> None:
        plain, _ = server.accept()
        with plain, suppress(ConnectionError):
            plain.recv(1)
            plain.sendall(b"this is no TLS\r\n")
            while plain.recv(1000):
                pass

    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        context = dialing_context(Tls(certificates.ca))
        found = probe(AddressEvidence("shard a", HOST), server.getsockname()[1], context, 30)
        thread.join(30)
    assert found.certificate_error == "its certificate isn't known: wrong version number"


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example", "\ud800"])
def test_host_that_can_be_no_name(host: str) -> None:
    """It is an error of the address, whatever Python makes of it."""
    assert probe(AddressEvidence("a", host), 1, None, 1).error == "it can't be the name of a host"


def test_bootstrap_that_can_have_no_name(pyshard: Commands) -> None:
    """It is a finding, with what to do, and no traceback of a thread."""
    ended = pyshard("doctor", "--bootstrap", "a..b:9192", "--json")
    assert ended.error == ""
    findings = {one["check"]: one for one in json.loads(ended.out)["findings"]}
    assert findings["addresses"]["text"] == "a..b can't be resolved: it can't be the name of a host"
    assert "--bootstrap" in findings["addresses"]["cure"]
    assert "time" not in findings


def test_probe_of_nobody() -> None:
    """A name that nobody has, and a port where nobody is."""
    assert probe(AddressEvidence("a", "no-such-host.invalid"), 1, None, 1).error
    assert certificate_end(Path("/no/file")) is None
