"""`pyshard state`: what is kept where, and copying it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from bootstrap.states import STATE
from click.testing import CliRunner
from deferreds import result
from in_process_command import Ended
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_file import StateLock
from pyshard.cli import cli, deferred_call
from pyshard.model.cluster_state_json import to_json

_T = TypeVar("_T")


@pytest.fixture(autouse=True)
def no_reactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need none."""

    def run(work: Callable[[IReactorTime], Coroutine[Deferred[Any], Any, _T]]) -> _T:
        return result(Deferred.fromCoroutine(work(Clock())))

    monkeypatch.setattr(deferred_call, "run", run)


def command(*arguments: str | Path) -> Ended:
    """How the command ended."""
    ended = CliRunner().invoke(cli, ["state", *map(str, arguments)])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Ended(ended.exit_code, ended.stdout, ended.stderr)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a state."""
    made = tmp_path / "one.state"
    state_file.save(made, STATE)
    return made


def test_show(path: Path) -> None:
    """In a few lines, or as it is. The file isn't touched, and may be used by a bootstrap."""
    with StateLock(path):
        shown = command("show", path)
        assert (shown.code, shown.error) == (0, "")
        assert shown.out == "cluster  c1\nstate    epoch 7\nshards   2\nindexes  1\nmoves    0\n"
        assert command("show", f"file:{path}", "--json").out == to_json(STATE).decode() + "\n"


def test_nothing_to_show(tmp_path: Path) -> None:
    """That is a no, and leaves nothing behind."""
    for words in (("show", tmp_path / "none"), ("copy", tmp_path / "none", tmp_path / "other")):
        ended = command(*words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.error == f"pyshard: {tmp_path / 'none'}: there is no state\n"
    assert list(tmp_path.iterdir()) == []


def test_copy(path: Path, tmp_path: Path) -> None:
    """To a new place; again, it is there already; a newer one takes its place, and an older one doesn't."""
    other = tmp_path / "other.state"
    assert command("copy", path, other) == Ended(0, f"{other}: cluster c1, epoch 7\n", "")
    assert state_file.load(other) == STATE
    assert command("copy", path, other).out == f"{other}: it has it already: cluster c1, epoch 7\n"
    state_file.save(path, STATE.with_index("links"))
    assert command("copy", path, other).code == 0
    assert state_file.load(other) == STATE.with_index("links")
    state_file.save(path, STATE)
    ended = command("copy", path, other)
    assert (ended.code, ended.out) == (5, "")
    assert "is no later one; --overwrite replaces it all the same" in ended.error
    assert state_file.load(other) == STATE.with_index("links")
    assert command("copy", path, other, "--overwrite").code == 0
    assert state_file.load(other) == STATE


def test_copy_over_another_cluster(path: Path, tmp_path: Path) -> None:
    """It is left alone, unless it is to be overwritten."""
    other = tmp_path / "other.state"
    state_file.save(other, attrs.evolve(STATE, cluster="c2", epoch=1))
    ended = command("copy", path, other)
    assert ended.code == 5
    assert "there is the state of another cluster, c2" in ended.error
    assert command("copy", path, other, "--overwrite").code == 0


def test_files_in_use(path: Path, tmp_path: Path) -> None:
    """What a bootstrap has isn't copied from or to: it would go on from there."""
    other = tmp_path / "other.state"
    with StateLock(path):
        ended = command("copy", path, other)
    assert ended.code == 2
    assert "another bootstrap uses this cluster state" in ended.error
    with StateLock(other):
        assert command("copy", path, other).code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "etcd://h1/x"], "found the member 'h1'"),
        (["show"], "Missing argument 'PLACE'"),
        (["copy", "a", "a"], "SOURCE and TARGET are the same place"),
        (["copy", "a"], "Missing argument 'TARGET'"),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    """In one line."""
    ended = command(*words)
    assert ended.code == 2
    assert message in ended.error
    assert ended.error.count("\n") == 1
