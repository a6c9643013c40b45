"""Command lines of the bootstrap: what they give, and how they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyshard.bootstrap.plugin import BootstrapOptions

SHARDS: list[dict[str, Any]] = [
    {"name": "low", "start": 0.0, "end": 0.5, "size": 1000, "host": "127.0.0.1", "port": 5050},
    {"name": "high", "start": 0.5, "end": 1.0, "size": 1000, "host": "127.0.0.1", "port": 5051},
]


SPLIT = [{**SHARDS[0], "end": 0.25}, {**SHARDS[1], "start": 0.25}]


def written(path: Path, **fields: object) -> Path:
    """A config file with `SHARDS` and some fields more."""
    path.write_text(json.dumps({"shards": SHARDS, **fields}))
    return path


def parsed(*arguments: str | Path) -> BootstrapOptions:
    """The options of a command line, of which the process has ended."""
    options = BootstrapOptions()
    options.parseOptions([str(argument) for argument in arguments])
    options["state store"].close()
    return options


def refused(*arguments: str | Path) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    line = ended.value.code
    assert isinstance(line, str)
    assert "\n" not in line
    return line
