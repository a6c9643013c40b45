"""``twistd pyshard-bootstrap``: its options, and the service that they make."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from bootstrap.command_lines import parsed, refused, written
from ports import free_port
from twisted.application.service import IService

from pyshard.bootstrap import state_file
from pyshard.bootstrap.plugin import BootstrapOptions, makeService
from pyshard.bootstrap.service import BootstrapService
from pyshard.model.cluster_state import ClusterState
from pyshard.net import client_endpoints
from pyshard.net.authenticating_endpoint import AuthenticatingEndpoint
from pyshard.server import listen_address
from pyshard.server.counted_dials import CountedEndpoint
from pyshard.server.listener import Listener


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A config file."""
    return written(tmp_path / "shards.json")


def test_defaults(file: Path, asked: list[tuple[str, int]]) -> None:
    """It listens where the config file says, else on localhost:9192; the state is kept beside the config file."""
    options = parsed("--config", file)
    assert asked == [("localhost", 9192)]
    assert options["listen"] == "tcp:port=9192:interface=127.0.0.1"
    assert options["state"].address == file.with_name("shards.state")
    assert state_file.load(options["state"].address) == options["stored state"].state


def test_bootstrap_in_the_config_file(file: Path, asked: list[tuple[str, int]]) -> None:
    """The config file may name where the bootstrap listens."""
    written(file, bootstrap={"host": "10.0.0.1", "port": 6000})
    parsed("-c", file)
    assert asked == [("10.0.0.1", 6000)]


def test_listen_in_place_of_the_config_file(file: Path, asked: list[tuple[str, int]]) -> None:
    """An endpoint string is taken as it is."""
    options = parsed("--config", file, "--listen", "unix:a socket")
    assert (options["listen"], asked) == ("unix:a socket", [])


def test_paths_survive_a_change_of_folder(
    file: Path, tmp_path: Path, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """twistd changes its working directory when it daemonizes: paths are absolute by then."""
    monkeypatch.chdir(tmp_path)
    assert parsed("--config", "shards.json")["state"].address == tmp_path / "shards.state"
    assert parsed("--config", "shards.json", "--state", "here")["state"].address == tmp_path / "here"


def test_no_config() -> None:
    """Without a config file there is nothing to start."""
    assert refused() == (
        "pyshard: --config: found nothing, expected the cluster's config file, such as share/pyshard/shards.json of "
        "pyshard's environment"
    )


def test_config_that_is_not_there(tmp_path: Path) -> None:
    """A config file that can't be read is named as it was given."""
    line = refused("--config", tmp_path / "none.json")
    assert line.startswith(f"pyshard: {tmp_path / 'none.json'}: can't be read (No such file or directory)")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shards": []}', '{"shards": [{}]}', '{"shards": 5}'])
def test_config_that_makes_no_sense(file: Path, text: str) -> None:
    """A config file that can't be used is refused, and no state is begun."""
    file.write_text(text)
    assert refused("--config", file).startswith(f"pyshard: {file}: ")
    assert not file.with_name("shards.state").exists()


def test_port_in_use(file: Path, taken: int) -> None:
    """A port that is taken is noticed before the state is touched: its bootstrap may be running."""
    written(file, bootstrap={"host": "127.0.0.1", "port": taken})
    line = refused("--config", file)
    assert line.startswith(f"pyshard: can't listen on 127.0.0.1:{taken}: address already in use; ")
    assert not file.with_name("shards.state").exists()


def test_unknown_options(file: Path) -> None:
    """What isn't an option is refused in one line, which says where to look."""
    for arguments, text in ((["--confg", "x"], "option --confg not recognized"), (["x"], "wrong number of arguments")):
        with pytest.raises(SystemExit) as refused:
            parsed(*arguments)
        assert refused.value.code == f"pyshard: {text}; 'twistd pyshard-bootstrap --help' lists what there is"


def test_help() -> None:
    """The help names every option."""
    text = str(BootstrapOptions())
    for words in ("--config=", "--state=", "--listen=", "--token-file=", "--insecure"):
        assert words in text


@pytest_twisted.ensureDeferred
async def test_service(file: Path, asked: list[tuple[str, int]]) -> None:
    """The service has the state that was opened, saves changes in its file by a thread, and listens nowhere yet."""
    options = parsed("--config", file)
    service = makeService(options).serving
    assert IService.providedBy(service)
    assert isinstance(service, BootstrapService)
    assert not service.running
    state: ClusterState = options["stored state"].state
    assert service.bootstrap.state == state
    changed = service.bootstrap.change(lambda state: state.with_index("pages"))
    assert service.bootstrap.state == state, "the disk isn't waited for"
    await changed
    assert service.bootstrap.state == state.with_index("pages")
    assert state_file.load(file.with_name("shards.state")) == state.with_index("pages")


def test_service_that_cannot_listen(file: Path) -> None:
    """An endpoint string that is none ends the process with one line."""
    with pytest.raises(SystemExit) as ended:
        makeService(parsed("--config", file, "--listen", "5050"))
    assert str(ended.value.code).startswith("pyshard: --listen: found '5050', expected a Twisted server endpoint ")


def test_where_the_bootstrap_listens(file: Path) -> None:
    """The option counts before the config file's ``listen``, and that before host and port; each in both forms."""
    ports = [free_port() for _ in range(3)]
    written(file, bootstrap={"host": "192.0.2.1", "port": ports[0], "listen": f"127.0.0.1:{ports[1]}"})
    assert parsed("--config", file)["listen"] == f"tcp:port={ports[1]}:interface=127.0.0.1"
    assert parsed("--config", file, "--listen", f"127.0.0.1:{ports[2]}")["listen"] == (
        f"tcp:port={ports[2]}:interface=127.0.0.1"
    )
    written(file, bootstrap={"host": "192.0.2.1", "port": ports[0], "listen": "tcp:99999"})
    assert refused("--config", file) == "pyshard: bootstrap.listen: found '99999', expected a port from 1 to 65535"
    written(file, bootstrap={"host": "127.0.0.1", "port": ports[0]})
    assert parsed("--config", file)["listen"] == f"tcp:port={ports[0]}:interface=127.0.0.1"


@pytest.mark.usefixtures("asked")
def test_where_shards_are_dialed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard is dialed where --address says, which can be given several times, or where the config file says."""
    dialed: list[tuple[str, int]] = []
    monkeypatch.setattr(client_endpoints, "dial_with", lambda *_: lambda host, port: dialed.append((host, port)))
    given = ["--address", "127.0.0.1:5050=10.0.0.5:1", "--address=10.0.0.9:1=10.0.0.9:2"]
    makeService(parsed("--config", file, *given))
    assert dialed == [("10.0.0.5", 1), ("127.0.0.1", 5051)]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["b:1"], "--address: found 'b:1', expected ANNOUNCED=DIALED, such as"),
        (["b:1=c:0"], "--address: found 'c:0', expected HOST:PORT with a port from 1 to 65535"),
        (["b:1=c:1", "b:1=d:1"], "--address: found 'b:1' twice, expected each shard's address once"),
    ],
)
def test_where_no_shard_can_be_dialed(pairs: list[str], message: str, file: Path) -> None:
    """A mapping that can't be used ends the process with one line, before anything is written."""
    assert refused("--config", file, *(f"--address={pair}" for pair in pairs)).startswith(f"pyshard: {message}")
    assert not state_file.default_path(file).exists()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A token file."""
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text("read the-secret-of-a-reader\nadmin the-secret-of-an-admin\n")
    return path


@pytest.mark.parametrize("guarded", [True, False])
def test_who_may_connect(guarded: bool, file: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others than this machine may connect where there is a token file; the bootstrap authenticates to shards then."""
    monkeypatch.setattr(listen_address, "check_listen", lambda *_: None)
    given: list[str | Path] = ["--config", file, "--listen", "tcp:6000"]
    given += ["--token-file", tokens] if guarded else []
    if not guarded:
        with pytest.raises(SystemExit) as ended:
            makeService(parsed(*given))
        assert str(ended.value.code).startswith("pyshard: found 'tcp:6000', on which others than this machine could ")
        given.append("--insecure")
    service = makeService(parsed(*given)).serving
    assert isinstance(service, BootstrapService)
    (listener,) = [one for one in service.services if isinstance(one, Listener)]
    assert (listener._factory.tokens is not None) is guarded
    reconcilers = [service.reconcilers.named(name) for name in ("low", "high")]
    counted = [one._dialer._endpoint for one in reconcilers if one is not None]
    endpoints = [one._endpoint for one in counted if isinstance(one, CountedEndpoint)]
    assert [isinstance(one, AuthenticatingEndpoint) for one in endpoints] == [guarded] * 2
    if guarded:
        assert {one._credential() for one in endpoints if isinstance(one, AuthenticatingEndpoint)} == {
            b"the-secret-of-an-admin"
        }


def test_token_file_refused(file: Path, tokens: Path) -> None:
    """A token file that can't be used ends the process with one line, before anything is started or written."""
    tokens.chmod(0o644)
    assert refused("--config", file, "--listen", f"tcp:{free_port()}", "--token-file", tokens).startswith(
        f"pyshard: token file {tokens}: found mode 0644"
    )
    assert not state_file.default_path(file).exists()
