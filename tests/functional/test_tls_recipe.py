"""docs/tls.md as printed, with daemons of their own; and who gets in there by the blocking client and the command."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess

import attrs
import pytest
from blocks import blocks
from certificates import Certificates
from functional.cluster import HOST, PATIENCE, TWISTD, Cluster, Daemon, run, shard, until, write_config
from ports import free_port

from pyshard import Pyshard, Tls
from pyshard.errors import ConfigError, NotTrusted, Unavailable

pytestmark = pytest.mark.functional

_PORTS = ("5050", "5051", "9192")


@attrs.frozen
class Recipe:
    """The recipe's cluster, running.

    :param ports: of the two shards and the bootstrap, in place of those that are printed.
    """

    folder: Path
    environment: Mapping[str, str]
    ports: list[int]

    @property
    def server(self) -> str:
        """The bootstrap's address."""
        return f"localhost:{self.ports[2]}"

    def shell(self, text: str) -> CompletedProcess[str]:
        """Run a block, with this Python's command and twistd."""
        before = (
            f'pyshard() {{ "{sys.executable}" -c "import sys; sys.argv[0] = \'pyshard\'; from pyshard.cli import cli; '
            f'cli()" "$@"; }}\ntwistd() {{ "{TWISTD}" "$@"; }}\n'
        )
        environment = {**self.environment, "PYSHARD_BOOTSTRAP": self.server}  # since the default one isn't printed
        return run(self.folder, environment, "bash", "-ec", before + self.printed(text))

    def printed(self, text: str) -> str:
        """A block with this cluster's ports."""
        for old, new in zip(_PORTS, self.ports, strict=True):
            text = text.replace(old, str(new))
        return text

    def log(self, name: str) -> str:
        """A daemon's log."""
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[str]]:
    """The page's blocks of shell, and those of Python."""
    page = blocks("docs/tls.md")
    return tuple([block.text for block in page if block.tag == tag] for tag in ("run: tls", "run: tls python"))  # type: ignore[return-value]  # two tags


@pytest.fixture(scope="module")
def recipe(
    environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory, texts: tuple[list[str], list[str]]
) -> Iterator[Recipe]:
    """The first two blocks of shell, done."""
    if shutil.which("openssl") is None:
        pytest.skip("the recipe needs the openssl command")
    made = Recipe(tmp_path_factory.mktemp("recipe"), environment, [free_port() for _ in _PORTS])
    config = [shard("a", 0.0, 0.5, made.ports[0]), shard("b", 0.5, 1.0, made.ports[1])]
    write_config(made.folder / "etc" / "shards.json", config, made.ports[2])
    try:
        for text in texts[0][:2]:
            done = made.shell(text)
            assert done.returncode == 0, done
        until(lambda: "shard b" in made.log("bootstrap") and "shard a" in made.log("bootstrap"), "the shards are ready")
        yield made
        for name in ("shard0", "shard1", "bootstrap"):
            assert "Traceback" not in made.log(name)
    finally:
        for file in made.folder.glob("*.pid"):
            os.kill(int(file.read_text()), 15)
        until(lambda: not list(made.folder.glob("*.pid")), "the daemons end")


def test_the_recipe(recipe: Recipe, texts: tuple[list[str], list[str]]) -> None:
    """The command and both clients read what was written, by options, environment and endpoint string."""
    shell, python = texts
    wrote = recipe.shell(shell[2])
    assert (wrote.returncode, wrote.stdout, wrote.stderr) == (0, '60\n"hello world"\n', "")
    read = recipe.shell(shell[3])
    assert (read.returncode, read.stdout, read.stderr) == (0, '"hello world"\n', "")
    assert len(shell) == 4
    for text in python:
        done = run(recipe.folder, recipe.environment, sys.executable, "-c", recipe.printed(text))
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            "{'hash_': 0.1671936, 'record': 'hello world'}\n",
            "",
        )


def test_blocking(recipe: Recipe, tmp_path: Path) -> None:
    """The blocking client works with TLS without installing a reactor, and in a forked child."""
    code = """
import os, sys
from pyshard import Pyshard, Tls
files = Tls("tls/ca.pem", "tls/crawler.pem", "tls/crawler.key")
string = f"tls:{sys.argv[1]}:trustRoots=tls/ca.pem:certificate=tls/crawler.pem:privateKey=tls/crawler.key"
for app in (Pyshard(sys.argv[1], tls=files), Pyshard(string)):
    assert app.write_many((f"key{n}", "x" * 1000) for n in range(5000)) == [1049] * 5000
    if os.fork() == 0:
        assert app.read("key7")["record"] == "x" * 1000
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    assert app.read("key8")["record"] == "x" * 1000
    app.close()
assert "twisted.internet.reactor" not in sys.modules
"""
    done = run(recipe.folder, recipe.environment, sys.executable, "-c", code, f"{HOST}:{recipe.ports[2]}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


def test_who_does_not_get_in(recipe: Recipe, tmp_path: Path) -> None:
    """Blocking: a wrong authority on either side, no certificate and a wrong host fail at once, plain TCP in time."""
    tls, foreign = recipe.folder / "tls", Certificates(tmp_path)
    own = (tls / "crawler.pem", tls / "crawler.key")
    server = recipe.server
    for files, said in (
        (Tls(foreign.ca, *own), "the peer's certificate is refused: it isn't of an authority that this side trusts"),
        (Tls(tls / "ca.pem"), "the peer wants a certificate of this side, which shows none"),
        (
            attrs.evolve(foreign.client, ca=tls / "ca.pem"),
            "the peer refuses this side's certificate: it isn't of an authority that the peer trusts",
        ),
    ):
        with pytest.raises(NotTrusted) as refused:
            Pyshard(server, tls=files)
        assert str(refused.value) == f'the bootstrap at {server}: {said}; see the documentation, "TLS"'
    with pytest.raises(Unavailable, match=r"perhaps the peer speaks TLS$"):
        Pyshard(server, tls=False, deadline=2)
    with pytest.raises(ConfigError, match=r"it expired on .*; expected a new one$"):
        Pyshard(server, tls=foreign.issue("late", HOST, until=timedelta(hours=-1)))


def test_the_command(recipe: Recipe, tmp_path: Path) -> None:
    """The command ends with a line and an exit code that say what kind of failure it was."""
    foreign = Certificates(tmp_path)
    prefix = f"pyshard: the bootstrap at {recipe.server}: "
    for options, code, said in (
        ("--tls-ca tls/ca.pem", 5, f"{prefix}the peer wants a certificate of this side, which shows none"),
        (
            f"--tls-ca {foreign.ca} --tls-certificate tls/crawler.pem --tls-key tls/crawler.key",
            5,
            f"{prefix}the peer's certificate is refused: it isn't of an authority that this side trusts",
        ),
        ("--deadline 2", 3, f"pyshard: the bootstrap at {recipe.server} gave no answer within 2 s: the connection"),
        ("--tls-ca tls/none.pem", 2, "pyshard: TLS file "),
        ("--tls-key tls/crawler.key", 2, "pyshard: --tls-ca: found nothing, beside the certificate or key"),
    ):
        done = recipe.shell(f"pyshard --bootstrap {recipe.server} {options} read test")
        assert (done.returncode, done.stdout) == (code, "")
        *before, last = done.stderr.splitlines()
        assert last.startswith(said)
        assert len(before) == (1 if code == 3 else 0)  # what was soon said of the bootstrap that can't be reached


def test_renewal(recipe: Recipe) -> None:
    """A daemon's certificate is exchanged while it runs: new connections meet the new one, old ones go on."""
    tls = recipe.folder / "tls"
    files = Tls(tls / "ca.pem", tls / "crawler.pem", tls / "crawler.key")
    with Pyshard(recipe.server, tls=files) as app:
        app.write("test", "before")
        old = [(tls / f"daemon.{kind}").read_bytes() for kind in ("key", "pem")]
        for kind in ("key", "pem"):  # the client's is of no use to a daemon
            shutil.copy(tls / f"crawler.{kind}", tls / "new")
            (tls / "new").replace(tls / f"daemon.{kind}")
        with pytest.raises(NotTrusted, match="it isn't meant for this use"):
            Pyshard(recipe.server, tls=files)
        assert app.read("test") == {"hash_": 0.1671936, "record": "before"}
        for kind, data in zip(("key", "pem"), old, strict=True):
            (tls / "new").write_bytes(data)
            (tls / "new").chmod(0o600)
            (tls / "new").replace(tls / f"daemon.{kind}")
        Pyshard(recipe.server, tls=files).close()


def test_a_daemon_with_bad_files(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A daemon whose files can't be used ends with one line and exit code 1."""
    made = Certificates(tmp_path)
    own = made.daemon
    files = [f"--tls-ca={made.ca}", f"--tls-certificate={own.certificate}", f"--tls-key={made.client.key}"]
    refused = run(tmp_path, environment, TWISTD, "-n", "--pidfile=", "pyshard-shard", f"--port={free_port()}", *files)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"pyshard: TLS key {made.client.key}: it isn't the key of the first certificate in {own.certificate}\n",
    )


def test_ssl_strings(environment: Mapping[str, str], tmp_path: Path, daemons: list[Daemon]) -> None:
    """Daemons that listen on Twisted's ``ssl:`` strings: the bootstrap verifies the shards, the client all of them."""
    made = Certificates(tmp_path)
    own = made.daemon
    cluster = Cluster(tmp_path, environment, 1)

    def listen(port: int) -> str:
        return f"--listen=ssl:{port}:interface={HOST}:privateKey={own.key}:certKey={own.certificate}"

    cluster.shards = [
        Daemon(tmp_path, "a", one.port, environment, "pyshard-shard", listen(one.port)) for one in cluster.shards
    ]
    port = cluster.bootstrap.port
    arguments = ["pyshard-bootstrap", "--config=etc/shards.json", listen(port), f"--tls-ca={made.ca}"]
    cluster.bootstrap = Daemon(tmp_path, "bootstrap", port, environment, *arguments)
    daemons.extend(cluster.daemons)
    try:
        for daemon in cluster.daemons:
            daemon.start()
            daemon.wait_listening()
        with Pyshard(f"tls:{HOST}:{port}:trustRoots={made.ca}", deadline=PATIENCE) as app:
            assert app.write("test", "hello world") == 60

        def is_logged() -> bool:
            """Whether the daemon was told why; it isn't when the connection is gone before it reads that."""
            with pytest.raises(NotTrusted):
                Pyshard(f"tls:{HOST}:{port}:trustRoots={made.other_ca}")
            return "no TLS: the peer refuses this side's certificate" in cluster.bootstrap.log()

        until(is_logged, "the log has it")
    finally:
        for daemon in cluster.daemons:
            daemon.kill()
