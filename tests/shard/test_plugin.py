"""``twistd pyshard-shard``: its options, and the service they make."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest
from ports import free_port
from twisted.application.service import IService

from pyshard import __version__
from pyshard.model.key_slots import slots_of
from pyshard.protocol.batch_operations import Write
from pyshard.server import listen_address
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.shard.plugin import ShardOptions, makeService
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import Durability, FollowedBound, LmdbStore, MemoryStore, Task


def parsed(*arguments: str) -> ShardOptions:
    """The options of a command line."""
    options = ShardOptions()
    options.parseOptions(list(arguments))
    return options


def listener_of(service: ShardService) -> Listener:
    """The service's listener."""
    (listener,) = [one for one in service.services if isinstance(one, Listener)]
    return listener


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ([], ("127.0.0.1", 5050)),
        (["--port", "6000"], ("127.0.0.1", 6000)),
        (["-p", "6000"], ("127.0.0.1", 6000)),
        (["--host", "0.0.0.0", "--port=1"], ("0.0.0.0", 1)),
    ],
)
def test_where(arguments: list[str], where: tuple[str, int], asked: list[tuple[str, int]]) -> None:
    """It listens on this machine only, on the settings' port, unless it is told otherwise."""
    options = parsed(*arguments)
    assert asked == [where]
    assert options["listen"] == f"tcp:port={where[1]}:interface=127.0.0.1"
    assert settings.SHARD_PORT == 5050


@pytest.mark.parametrize("option", ["--listen", "-l"])
def test_listen_in_place_of_host_and_port(option: str, asked: list[tuple[str, int]]) -> None:
    """An endpoint string is taken as it is, and host and port aren't looked at."""
    options = parsed(option, "unix:a socket", "--port", "nonsense")
    assert (options["listen"], asked) == ("unix:a socket", [])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--port", "http"], r"pyshard: --port: found 'http', expected a port from 1 to 65535"),
        (["--port", "0"], r"pyshard: --port: found '0', expected a port from 1 to 65535"),
        (["--host", "a" * 64], r"pyshard: can't listen on a{64}:5050: 'a{64}' has no address \(not a name\)"),
    ],
)
def test_refused(arguments: list[str], line: str) -> None:
    """What can't be used ends the process with one line, which is also its exit code other than 0."""
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert isinstance(ended.value.code, str)
    assert re.fullmatch(line, ended.value.code)


def test_port_in_use(taken: int) -> None:
    """A port that is taken is noticed before anything is started."""
    with pytest.raises(SystemExit) as ended:
        parsed("--port", str(taken))
    assert str(ended.value.code).startswith(f"pyshard: can't listen on 127.0.0.1:{taken}: address already in use; ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--prot", "1"], "option --prot not recognized"),
        (["--port"], "option --port requires argument"),
        (["surplus"], "wrong number of arguments"),
    ],
)
def test_unknown_options(arguments: list[str], text: str) -> None:
    """What isn't an option is refused in one line, which says where to look."""
    with pytest.raises(SystemExit) as refused:
        parsed(*arguments)
    assert refused.value.code == f"pyshard: {text}; 'twistd pyshard-shard --help' lists what there is"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is pyshard's, not Twisted's."""
    with pytest.raises(SystemExit) as ended:
        parsed("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"pyshard-shard, version {__version__} (")


def opened(service: IService) -> Shard:
    """The shard that a service opens when it starts."""
    assert isinstance(service, ShardService)
    return service._open_shard()


def test_service(asked: list[tuple[str, int]]) -> None:
    """The service is a shard with an empty store in memory, and listens nowhere yet."""
    service = makeService(parsed("--port", "6000")).serving
    assert IService.providedBy(service)
    assert isinstance(service, ShardService)
    assert not service.running
    assert listener_of(service)._port is None
    shard = opened(service)
    assert isinstance(shard.store, MemoryStore)
    assert (shard.store.documents, shard.assignment) == (0, None)


def test_identities(asked: list[tuple[str, int]]) -> None:
    """Each start has a store of its own: 32 hex digits that no other has."""
    identities = {opened(makeService(parsed()).serving).store.identity for _ in range(2)}
    assert len(identities) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in identities)


@pytest.mark.parametrize(
    ("arguments", "durability"),
    [
        ([], Durability.FSYNC),
        (["--durability", "fsync"], Durability.FSYNC),
        (["--durability", "async"], Durability.ASYNC),
        (["--durability=none"], Durability.NONE),
    ],
)
def test_data_directory(
    arguments: list[str], durability: Durability, asked: list[tuple[str, int]], tmp_path: Path
) -> None:
    """With a data directory the documents are kept there, and fsynced unless a weaker mode is asked for by name."""
    store = opened(makeService(parsed("--data-dir", str(tmp_path / "data"), *arguments)).serving).store
    assert isinstance(store, LmdbStore)
    assert (store._engine.durability, store.ephemeral) == (durability, False)
    assert (tmp_path / "data" / "records" / "data.mdb").exists()
    store.close()


@pytest.mark.parametrize("kept", ["memory", "durable"])
@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        ([], FollowedBound(settings.FOLLOWED_LOG_BYTES, settings.FOLLOWED_LOG_SECONDS)),
        (["--followed-log-size", "1000", "--followed-log-seconds=0"], FollowedBound(1000, 0)),
    ],
)
def test_what_is_kept_for_followers(
    kept: str, arguments: list[str], bound: FollowedBound, asked: list[tuple[str, int]], tmp_path: Path
) -> None:
    """Operators say how much a store keeps for followers, and how long."""
    where = ["--data-dir", str(tmp_path / "data")] if kept == "durable" else []
    store = opened(makeService(parsed(*where, *arguments)).serving).store
    assert isinstance(store, MemoryStore | LmdbStore)
    found = store._followers._bound if isinstance(store, MemoryStore) else store._engine.retention._bound
    assert found == bound
    store.close()


@pytest.mark.parametrize("option", ["followed-log-size", "followed-log-seconds"])
@pytest.mark.parametrize("given", ["-1", "1.5", "many", ""])
def test_no_bound_for_followers(option: str, given: str) -> None:
    """What is no number is refused in one line."""
    with pytest.raises(SystemExit) as ended:
        parsed(f"--{option}={given}")
    assert str(ended.value.code).endswith(f"--{option}: found {given!r}, expected a number from 0 to 999999999999999")


def test_data_directory_is_found_from_anywhere(
    asked: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is one from where the command was given, although twistd changes its directory."""
    monkeypatch.chdir(tmp_path)
    options = parsed("-d", "data")
    monkeypatch.chdir("/")
    store = options["store"](None)
    assert store._directory.path == tmp_path / "data"
    store.close()


def test_the_garbage_collector_passes_over_what_stays(
    asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard in memory has its lists of keys frozen when there are many; else a full collection takes half a second.

    Only the daemon does so. A store in a user's process leaves that process's collector alone.
    """
    frozen: list[str] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append("frozen"))
    store = parsed()["store"](None)
    keys = [b"%d" % number for number in range(2000)]
    write = Write("", keys, [b""] * len(keys))
    for one in (store, MemoryStore("1d", lambda: 1.0)):
        one.apply([Task(write, 0, slots_of(keys))], 1 << 30, 1000)
        assert frozen == ["frozen"]


def test_data_directory_is_locked_at_once(asked: list[tuple[str, int]], tmp_path: Path) -> None:
    """A directory that is in use ends the process with one line, before anything is started."""
    store = parsed("--data-dir", str(tmp_path / "data"))["store"](None)
    with pytest.raises(SystemExit) as ended:
        parsed("--data-dir", str(tmp_path / "data"))
    assert ended.value.code == (
        f"pyshard: {tmp_path}/data: another process uses this data directory; stop that shard, or choose another "
        "directory"
    )
    store.close()


def test_data_that_cannot_be_opened(asked: list[tuple[str, int]], tmp_path: Path) -> None:
    """Data that are damaged end the process with one line, before anything is started."""
    parsed("--data-dir", str(tmp_path))["store"](None).close()
    (tmp_path / "records" / "data.mdb").write_bytes(b"garbage" * 10_000)
    with pytest.raises(SystemExit) as ended:
        parsed("--data-dir", str(tmp_path))
    line = str(ended.value.code)
    assert line.startswith(f"pyshard: {tmp_path}/records: the data can't be opened (")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--durability", "fsync"], "--durability: found it without --data-dir, expected both or neither"),
        (["--durability", "maybe"], "--durability: found 'maybe', expected one of fsync, async, none"),
        (["--durability", "FSYNC"], "--durability: found 'FSYNC', expected one of fsync, async, none"),
        (
            ["--data-dir", "/dev/null"],
            "/dev/null: found that /dev/null is no directory, expected one there; choose another data directory",
        ),
    ],
)
def test_durability_refused(arguments: list[str], line: str, asked: list[tuple[str, int]]) -> None:
    """A mode that there isn't, or that means nothing, ends the process with one line."""
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == f"pyshard: {line}"


@pytest.mark.parametrize("listen", ["", "5050", "tcp:http", "nothing:at=all"])
def test_service_that_cannot_listen(listen: str) -> None:
    """An endpoint string that is none ends the process with one line."""
    with pytest.raises(SystemExit) as ended:
        makeService(parsed("--listen", listen))
    line = str(ended.value.code)
    assert line.startswith(f"pyshard: --listen: found {listen!r}, expected a Twisted server endpoint string such as ")
    assert "\n" not in line


def test_help() -> None:
    """The help names every option, and says what its default is."""
    text = str(ShardOptions())
    for option in ("--port=", "--host=", "--listen=", "--data-dir=", "--durability=", "--token-file=", "--insecure"):
        assert option in text
    for default in ("5050", "127.0.0.1", "memory", "fsync"):
        assert default in text


SECRET = "the-secret-of-an-admin"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A token file."""
    path = tmp_path / "tokens"
    path.touch(0o600)
    path.write_text(f"admin {SECRET}\n")
    return path


@pytest.mark.parametrize("options", [[], ["--insecure"], ["--token-file"], ["-t"]])
@pytest.mark.parametrize("listen", ["tcp:6000", "tcp:6000:interface=127.0.0.1"])
def test_who_may_connect(options: list[str], listen: str, tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others than this machine may connect when there is a token file, or when the operator says so."""
    monkeypatch.setattr(listen_address, "check_listen", lambda *_: None)
    given = [*options, str(tokens)] if options and options != ["--insecure"] else options
    if options or "127" in listen:
        service = makeService(parsed("--listen", listen, *given)).serving
        assert isinstance(service, ShardService)
        factory = listener_of(service)._factory
        assert (factory.tokens is not None) is (given != options)
    else:
        with pytest.raises(SystemExit) as ended:
            makeService(parsed("--listen", listen))
        assert str(ended.value.code).startswith("pyshard: found 'tcp:6000', on which others than this machine could ")


@pytest.mark.parametrize("contents", [f"write {SECRET}", f"admin {SECRET} x", None])
def test_token_file_refused(contents: str | None, tokens: Path) -> None:
    """A token file that can't be used ends the process with one line, before anything is started."""
    if contents is None:
        tokens.chmod(0o644)
    else:
        tokens.write_text(contents)
    with pytest.raises(SystemExit) as ended:
        parsed("--port", str(free_port()), "--token-file", str(tokens))
    line = str(ended.value.code)
    assert line.startswith(f"pyshard: token file {tokens}")
    assert "\n" not in line
    assert SECRET not in line


def test_insecure_with_tokens(tokens: Path) -> None:
    """An operator who says both is asked which."""
    with pytest.raises(SystemExit) as ended:
        parsed("--port", str(free_port()), "--token-file", str(tokens), "--insecure")
    assert ended.value.code == "pyshard: --insecure: found it with --token-file, expected one of the two"
