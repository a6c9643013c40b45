"""The `pyshard` command in this process, on a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred

from pyshard import Pyshard
from pyshard.cli import cli, deferred_call
from pyshard.cli.common_options import Target
from pyshard.client import Client
from pyshard.testing import MemoryCluster

_T = TypeVar("_T")


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
        self._runs = 0  # of the reactor, for the present command
        monkeypatch.delenv("PYSHARD_BOOTSTRAP", raising=False)

        def connect(target: Target, quiet: bool = False) -> Pyshard:
            self.targets.append(target)
            return cluster.blocking(deadline=target.deadline)

        def call(target: Target, function: Callable[[Client], Deferred[_T]]) -> _T:
            self.targets.append(target)
            self._runs += 1
            assert self._runs == 1, "a process can run its reactor once"
            return cluster.run(function(cluster.connect(deadline=target.deadline)))

        monkeypatch.setattr(Target, "new_client", connect)
        monkeypatch.setattr(deferred_call, "call", call)

    def __call__(self, *arguments: str, text: str | bytes = b"", env: dict[str, str] | None = None) -> Ended:
        """Run it to its end."""
        self._runs = 0
        result = CliRunner().invoke(cli, arguments, input=text, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)
