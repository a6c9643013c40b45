"""What `up` tells: lines for people, or JSON objects, and neither ends the cluster when nobody reads them."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.text import Text

from pyshard.cli.up.announcements import IAnnouncements, JsonAnnouncements, TextAnnouncements

FATE = "Documents are kept in memory: they are gone when their shard ends."


def told_by(announcements: IAnnouncements) -> None:
    """Tell a bit of everything."""
    announcements.tell("Port 5050 is in use.")
    announcements.warn("shard 'ä' ended, and is started again; its log: /run/ä.log")
    announcements.cluster_ready()


def as_json() -> JsonAnnouncements:
    """Objects of the first second of 1970."""
    return JsonAnnouncements("127.0.0.1:9192", 2, FATE, lambda: 0.5)


def test_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Lines as they are; the panel when the cluster is ready, and what becomes of the documents."""
    told_by(TextAnnouncements(Text("pyshard read KEY"), FATE))
    first, second, *panel, last = capfdbinary.readouterr().out.decode().splitlines()
    assert first == "Port 5050 is in use."
    assert second == "shard 'ä' ended, and is started again; its log: /run/ä.log"
    assert "The cluster is ready" in panel[0]
    assert "pyshard read KEY" in panel[1]
    assert last == f"{FATE} Ctrl-C ends the cluster."


def test_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """An object a line, in ASCII, with the fields of the daemons' lines and how grave it is."""
    told_by(as_json())
    always = {"time": "1970-01-01T00:00:00.500Z", "namespace": "pyshard.cli.up"}
    assert [json.loads(line) for line in capfdbinary.readouterr().out.decode("ascii").splitlines()] == [
        {**always, "level": "info", "message": "Port 5050 is in use."},
        {**always, "level": "warn", "message": "shard 'ä' ended, and is started again; its log: /run/ä.log"},
        {
            **always,
            "level": "info",
            "message": f"The cluster is ready. {FATE}",
            "bootstrap": "127.0.0.1:9192",
            "shards": 2,
        },
    ]


class ClosedPipe(io.BytesIO):
    """A standard output that nobody reads any more.

    :ivar tried: how often something was written.
    """

    tried = 0

    def write(self, _: object) -> int:
        """Fail."""
        self.tried += 1
        raise BrokenPipeError


@pytest.mark.parametrize("made", [TextAnnouncements(Text(), FATE), as_json()], ids=["text", "json"])
def test_nobody_reads(made: IAnnouncements, monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that can't be written ends nothing: the next line is tried all the same."""
    pipe = ClosedPipe()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
    told_by(made)
    assert pipe.tried >= 3
