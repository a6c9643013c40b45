"""The options about connections, and the files that a process must be allowed for them."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from twisted.application.service import MultiService
from twisted.python import usage

from pyshard.bootstrap import plugin as bootstrap_plugin
from pyshard.errors import ConfigError
from pyshard.server import daemon_options, file_limits, listen_address
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.shard import plugin as shard_plugin

CONFIG = Path(__file__).parents[2] / "etc" / "shards.json"


class Files:
    """What this process may have open, as the test says."""

    def __init__(self, soft: int, hard: int, most: int | None = None) -> None:
        self.now = (soft, hard)
        self.most = most  # what the system doesn't tell

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        if self.most is not None and limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


def files(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int | None = None) -> Files:
    """Let this process have other limits."""
    made = Files(soft, hard, most)
    monkeypatch.setattr(resource, "getrlimit", made.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", made.setrlimit)
    return made


@pytest.mark.parametrize("given", ["1", "9999999", 5])
def test_numbers(given: object) -> None:
    """What the options may be."""
    assert daemon_options.connection_limits(given, given, guarded=True) == ConnectionLimits(
        int(str(given)), int(str(given))
    )


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "many", "", "10000000", "1" * 5000, "\u0661"])
@pytest.mark.parametrize("place", [0, 1])
def test_no_numbers(given: str, place: int) -> None:
    """What they may not be is refused in one line."""
    total, address = (given, "10") if place == 0 else ("10", given)
    with pytest.raises(ConfigError) as refused:
        daemon_options.connection_limits(total, address, guarded=True)
    option = ["--max-connections", "--max-connections-per-address"][place]
    assert str(refused.value) == f"{option}: found {given!r}, expected a number from 1 to 9999999"


def test_no_places_for_strangers_where_there_are_none() -> None:
    """Without tokens nobody is a stranger, and no files are needed for them."""
    assert daemon_options.connection_limits(10, 10, guarded=False).strangers == 0


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 1_000_000, 12_400),
        (1024, resource.RLIM_INFINITY, 12_400),
        (20_000, 20_000, 20_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_files(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int, log_lines: list[str]) -> None:
    """A process gets as many files as its connections need, and no more than it had when that is enough."""
    had = files(monkeypatch, soft, hard)
    assert file_limits.with_files(ConnectionLimits()) == ConnectionLimits()
    assert (had.now, log_lines) == ((raised, hard), [])


@pytest.mark.parametrize(("soft", "hard", "most"), [(256, 4096, None), (4096, 4096, None), (4096, 1_000_000, 4096)])
def test_too_few_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int | None, log_lines: list[str]
) -> None:
    """Where the system lets it have fewer, it takes fewer connections, and says so."""
    files(monkeypatch, soft, hard, most)
    assert file_limits.with_files(ConnectionLimits()) == ConnectionLimits().within(4096)
    assert log_lines == [
        "warn: this process may not have the 12,400 files open that 10,000 connections need: it serves 2,235; raise "
        "the limit (ulimit -n), or give it a lower --max-connections"
    ]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (shard_plugin.ShardOptions, ["--port", "0"]),
        (bootstrap_plugin.BootstrapOptions, ["--config", str(CONFIG), "--listen", "tcp:0:interface=127.0.0.1"]),
    ],
    ids=["shard", "bootstrap"],
)
def test_options_of_daemons(
    options: type[usage.Options], arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both daemons take the options, and have the settings' numbers without them."""
    monkeypatch.setattr(listen_address, "listen_string", lambda *_: "tcp:port=0:interface=127.0.0.1")
    monkeypatch.setattr(listen_address, "port_number", lambda *_: 0)
    if options is bootstrap_plugin.BootstrapOptions:
        arguments = [*arguments, "--state", str(tmp_path / "state")]
    tap = shard_plugin if options is shard_plugin.ShardOptions else bootstrap_plugin
    for given, expected in (
        ([], (settings.MAX_CONNECTIONS, settings.MAX_CONNECTIONS_PER_ADDRESS)),
        (["--max-connections", "7", "--max-connections-per-address=5"], (7, 5)),
    ):
        parsed = options()
        parsed.parseOptions([*arguments, *given])
        if tap is bootstrap_plugin:
            parsed["state store"].close()  # there is another one soon
        service = tap.makeService(parsed).serving
        assert isinstance(service, MultiService)
        (listener,) = [one for one in service.services if isinstance(one, Listener)]
        limits = listener._factory.admission.limits
        assert (limits.total, limits.address, limits.strangers) == (*expected, 0)
    with pytest.raises(SystemExit, match="pyshard: --max-connections: found '0', expected a number"):
        options().parseOptions([*arguments, "--max-connections=0"])
