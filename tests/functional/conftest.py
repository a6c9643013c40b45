"""Fixtures for tests with real processes: an installed pyshard, clusters, and a look through every log."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from functional.cluster import Cluster, Daemon, NewCluster, clean_environment, in_thread
from functional.history_program import QUICK, QUICKENED
from functional.history_round import Programs
from functional.replicated_cluster import NewReplicatedCluster, ReplicatedCluster
from functional.replicated_pair import NewReplicatedPair, ReplicatedPair

import pyshard


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run each test that is no coroutine in a thread of its own, as a program without a reactor would.

    pytest-twisted runs all tests where its reactor runs, and there a blocking call is refused.
    """
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    in_thread(lambda: pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment for processes that are to find an installed pyshard and never the checkout."""
    found = clean_environment()
    source = Path(pyshard.__file__).parents[1]
    if (source / "setup.py").exists():  # these tests themselves run on a checkout: install it somewhere
        copy = tmp_path_factory.mktemp("source")
        for name in ("setup.py", "pyproject.toml", "LICENSE"):
            shutil.copy(source / name, copy)
        for name in ("pyshard", "twisted"):
            shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        target = str(tmp_path_factory.mktemp("installed"))
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, str(copy)]
        subprocess.run(install, check=True, env=found)
        found["PYTHONPATH"] = target
    return found


@pytest.fixture(scope="session")
def daemons() -> Iterator[list[Daemon]]:
    """Every daemon of the run; those that are left at its end are ended."""
    started: list[Daemon] = []
    yield started
    for daemon in started:
        daemon.kill()


@pytest.fixture(autouse=True)
def no_complaints(daemons: list[Daemon]) -> Iterator[None]:
    """No daemon's log may speak of a traceback, an unhandled error or worse after any test."""
    yield
    complaints = [line for daemon in daemons for line in daemon.complaints()]
    assert not complaints


@pytest.fixture
def new_cluster(
    environment: Mapping[str, str],
    daemons: list[Daemon],
    no_complaints: None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[NewCluster]:
    """Makes clusters in empty folders and ends their daemons after the test."""
    made: list[Cluster] = []

    def make(
        shards: int = 2,
        size: int = 1 << 30,
        durable: bool = False,
        token_file: Path | None = None,
        environment: Mapping[str, str] = environment,
    ) -> Cluster:
        folder = tmp_path / f"cluster{len(made)}"
        folder.mkdir()
        cluster = Cluster(folder, environment, shards, size, durable, token_file)
        made.append(cluster)
        daemons.extend(cluster.daemons)
        return cluster

    yield make
    _end([daemon for cluster in made for daemon in cluster.daemons])


@pytest.fixture
def new_replicated_cluster(
    environment: Mapping[str, str], daemons: list[Daemon], no_complaints: None, tmp_path: Path
) -> Iterator[NewReplicatedCluster]:
    """Makes clusters of one shard with replicas, and ends their daemons after the test."""
    made: list[ReplicatedCluster] = []

    def make(replicas: int = 2, **options: Any) -> ReplicatedCluster:
        folder = tmp_path / f"replicated{len(made)}"
        folder.mkdir()
        cluster = ReplicatedCluster(folder, environment, replicas, **options)
        made.append(cluster)
        daemons.extend(cluster.daemons)
        return cluster

    yield make
    _end([daemon for cluster in made for daemon in cluster.daemons])


@pytest.fixture
def new_replicated_pair(
    environment: Mapping[str, str], daemons: list[Daemon], no_complaints: None, tmp_path: Path
) -> Iterator[NewReplicatedPair]:
    """Makes a cluster of two shards with two replicas each, and ends its daemons after the test."""
    made: list[ReplicatedPair] = []

    def make() -> ReplicatedPair:
        cluster = ReplicatedPair(tmp_path, environment)
        made.append(cluster)
        daemons.extend(cluster.daemons)
        return cluster

    yield make
    _end([daemon for cluster in made for daemon in cluster.daemons])


@pytest.fixture
def cluster(new_cluster: NewCluster) -> Cluster:
    """A fresh cluster of two shards, ready."""
    made = new_cluster()
    made.start()
    return made


@pytest.fixture(scope="session")
def shared(
    environment: Mapping[str, str], daemons: list[Daemon], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster of two shards for tests that leave daemons, limits and each other's keys alone."""
    made = Cluster(tmp_path_factory.mktemp("shared"), environment)
    daemons.extend(made.daemons)
    made.start()
    yield made
    for daemon in made.daemons:
        daemon.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients give connections up soon, so that much happens in little time."""
    for module in QUICKENED:
        monkeypatch.setattr(module, "settings", QUICK)


@pytest.fixture
def programs() -> Iterator[list[Programs]]:
    """Those that are to be ended."""
    made: list[Programs] = []
    yield made
    for one in [one for programs in made for one in programs.running]:
        one.kill()
        one.end()


def _end(daemons: Iterable[Daemon]) -> None:
    """Kill the daemons of a test, and write their logs, which pytest shows when the test failed."""
    for daemon in daemons:
        daemon.kill()
        sys.stdout.write(f"---- {daemon.name}{os.linesep}{daemon.log()}")
