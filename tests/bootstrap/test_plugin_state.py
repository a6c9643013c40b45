"""The state that ``twistd pyshard-bootstrap`` opens, or refuses to open."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from bootstrap.command_lines import SHARDS, SPLIT, parsed, refused, written
from bootstrap.states import fail_to_sync

from pyshard.bootstrap import state_file
from pyshard.bootstrap.opened_state import open_state
from pyshard.bootstrap.plugin import BootstrapOptions, makeService
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.errors import ConfigError, OutcomeUnknown
from pyshard.model import config_file
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import ShardMap


def opened(path: Path, configured: ShardMap, config: Path) -> ClusterState:
    """The state with which a bootstrap begins that keeps it in this file."""
    with StateLock(path) as lock:
        return open_state(FileStateStore(lock), configured, config).state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A config file."""
    return written(tmp_path / "shards.json")


def test_state_elsewhere(file: Path, tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    """The state may be kept anywhere."""
    options = parsed("--config", file, "--state", tmp_path / "elsewhere")
    assert options["state"].address == tmp_path / "elsewhere"
    assert state_file.load(tmp_path / "elsewhere") == options["stored state"].state
    assert not file.with_name("shards.state").exists()


def test_state_that_cannot_be_read(file: Path, asked: list[tuple[str, int]]) -> None:
    """A state file that holds something else is refused, and left as it is."""
    state = file.with_name("shards.state")
    state.write_text("precious")
    line = refused("--config", file)
    assert line.startswith(f"pyshard: {state}: this is no cluster state: ")
    assert line.endswith("; restore the file, or move it away to start a new cluster")
    assert state.read_text() == "precious"


def test_state_that_is_the_config_file(file: Path, asked: list[tuple[str, int]]) -> None:
    """A config file that is given as the state's file isn't overwritten."""
    before = file.read_bytes()
    assert refused("--config", file, "--state", file).startswith(f"pyshard: {file}: this is no cluster state: ")
    assert file.read_bytes() == before


def test_state_that_cannot_be_written(file: Path, tmp_path: Path, asked: list[tuple[str, int]]) -> None:
    """A place where no state can be kept is noticed before anything is started."""
    path = tmp_path / "no folder" / "state"
    assert refused("--config", file, "--state", path) == (
        f"pyshard: {path}: the cluster's state can't be written (No such file or directory); "
        "name a place that can with --state"
    )


def test_other_ranges(file: Path, asked: list[tuple[str, int]], log_lines: list[str]) -> None:
    """Ranges that aren't those of the cluster change nothing by themselves; the log says what does."""
    parsed("--config", file)
    state = file.with_name("shards.state")
    before = state.read_bytes()
    written(file, shards=SPLIT)
    parsed("--config", file)
    assert state.read_bytes() == before
    (line,) = [line for line in log_lines if "other shards or ranges than the cluster" in line]
    assert f"`pyshard apply {file}`" in line


def test_new_cluster(file: Path, tmp_path: Path) -> None:
    """Without a state a new cluster begins, at epoch 1, with an id of its own, and is saved."""
    configured = config_file.load(file).map
    state = opened(tmp_path / "one", configured, file)
    assert (state.epoch, state.map, dict(state.indexes)) == (1, configured, {})
    assert re.fullmatch(r"[0-9a-f]{32}", state.cluster)
    assert state_file.load(tmp_path / "one") == state
    assert opened(tmp_path / "other", configured, file).cluster != state.cluster


def test_known_cluster(file: Path, tmp_path: Path) -> None:
    """A cluster that is known goes on where it was: id, epoch, indexes and identities."""
    configured = config_file.load(file).map
    known = opened(tmp_path / "one", configured, file).with_index("pages").with_identity("low", "1d", durable=True)
    state_file.save(tmp_path / "one", known)
    assert opened(tmp_path / "one", configured, file) == known
    assert known.epoch == 3


def test_state_that_was_not_synced(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written and not synced is settled by a restart, before anybody hears of it; or there is no restart."""
    configured = config_file.load(file).map
    known = opened(tmp_path / "one", configured, file)
    with monkeypatch.context() as patch:
        fail_to_sync(patch)
        with pytest.raises(OutcomeUnknown):
            state_file.save(tmp_path / "one", known.with_index("pages"))
        with pytest.raises(OutcomeUnknown):
            opened(tmp_path / "one", configured, file)
        with pytest.raises(SystemExit) as ended:
            parsed("--config", file, "--listen", "unix:a socket", "--state", tmp_path / "one")
        assert "its directory can't be synced" in str(ended.value.code)
    assert opened(tmp_path / "one", configured, file) == known.with_index("pages")


def test_second_bootstrap(file: Path, asked: list[tuple[str, int]]) -> None:
    """Two bootstraps with one state file would decide differently about a move: the second one is refused."""
    options = BootstrapOptions()
    options.parseOptions(["--config", str(file)])
    service = makeService(options)
    assert "another bootstrap uses this cluster state" in refused("--config", file)
    assert service.parent is None
    options["state store"].close()
    parsed("--config", file)


def test_new_address_in_the_config_file(file: Path, tmp_path: Path) -> None:
    """Addresses and limits that the config file has anew make the next epoch, and are saved."""
    known = opened(tmp_path / "one", config_file.load(file).map, file)
    written(file, shards=[{**SHARDS[0], "port": 6000, "size": 5}, SHARDS[1]])
    state = opened(tmp_path / "one", config_file.load(file).map, file)
    low = attrs.evolve(known.map.shards[0], port=6000, limit=5)
    assert (state.cluster, state.epoch, state.map.shards) == (known.cluster, 2, (low, known.map.shards[1]))
    assert state_file.load(tmp_path / "one") == state


@pytest_twisted.ensureDeferred
async def test_service_that_cannot_save(file: Path, asked: list[tuple[str, int]]) -> None:
    """A change that can't be saved is refused by the service too."""
    options = parsed("--config", file)
    service = makeService(options).serving
    assert isinstance(service, BootstrapService)
    file.with_name("shards.state.new").mkdir()
    with pytest.raises(ConfigError):
        await service.bootstrap.change(lambda state: state.with_index("pages"))
    assert service.bootstrap.state == options["stored state"].state
