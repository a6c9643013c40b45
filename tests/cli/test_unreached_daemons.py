"""When the command says that a daemon can't be reached."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from pyshard.cli.unreached_daemons import UnreachedDaemons


def test_said_once_when_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure that has passed a moment later isn't told, one that lasts is, once for each daemon."""
    clock = Clock()
    daemons = UnreachedDaemons(10, clock.seconds)
    said = []
    for name in ("a", "b", "a", "a", "a", "b", "b"):
        daemons.add(name, "connection refused")
        said.append(capsys.readouterr().err)
        clock.advance(0.1)
    told = [f"pyshard: {name}: connection refused; trying for 10 s\n" for name in "ab"]
    assert said == ["", "", told[0], "", "", told[1], ""]
