"""The `pyshard` command in this process, on a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred

from pyshard import Pyshard
from pyshard.cli import cli
from pyshard.cli.common_options import Target
from pyshard.client import Client
from pyshard.testing import MemoryCluster

_T = TypeVar("_T")


class MemoryPyshard(Pyshard):
    """A `Pyshard` whose calls let a `MemoryCluster`'s time pass."""

    def __init__(self, cluster: MemoryCluster, deadline: float) -> None:
        self._memory = cluster
        self._deferred_client = cluster.connect(deadline=deadline)

    def run(self, function: Callable[[Client], Deferred[_T]]) -> _T:
        """See `Pyshard.run`."""
        return self._memory.run(function(self._deferred_client))

    def close(self) -> None:
        """See `Pyshard.close`."""
        self._memory.run(self._deferred_client.close())


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str


class Commands:
    """Runs the command on a cluster.

    :ivar targets: what each run worked on.
    """

    def __init__(self, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster = cluster
        self.targets: list[Target] = []
        monkeypatch.delenv("PYSHARD_BOOTSTRAP", raising=False)

        def connect(target: Target) -> Pyshard:
            self.targets.append(target)
            return MemoryPyshard(cluster, target.deadline)

        monkeypatch.setattr(Target, "connect", connect)

    def __call__(self, *arguments: str, text: str | bytes = b"", env: dict[str, str] | None = None) -> Ended:
        """Run it to its end."""
        result = CliRunner().invoke(cli, arguments, input=text, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)
