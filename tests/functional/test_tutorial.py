"""docs/tutorial.md as printed, from the tokens to the end, in one shell; only the ports are others.

What it installs, and how, is what tests/functional/test_readme.py does with a clone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from blocks import Block, blocks, tagged
from functional.cluster import TWISTD, until
from ports import free_port

pytestmark = pytest.mark.functional

PAGE = "docs/tutorial.md"
_PORTS = ("5050", "5051", "5052", "5053", "9192")
_COMMANDS = ("run: tutorial", "run: tutorial unavailable")

_BEFORE = f"""\
pyshard() {{ "{sys.executable}" -c "import sys; sys.argv[0] = 'pyshard'; from pyshard.cli import main; main()" "$@"; }}
twistd() {{ "{TWISTD}" "$@"; }}
python() {{ "{sys.executable}" "$@"; }}
"""


def steps() -> list[tuple[Block, str | None]]:
    """Each block of shell, and what the page says that it prints, if it says so."""
    found: list[tuple[Block, str | None]] = []
    for block in blocks(PAGE):
        if block.tag == "run: tutorial output":
            found[-1] = (found[-1][0], block.text)
        elif block.tag in _COMMANDS:
            found.append((block, None))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the tutorial is followed; no daemon outlives the test."""
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        os.kill(int(file.read_text()), 15)
    until(lambda: not list(tmp_path.glob("*.pid")), "the daemons end")


def test_the_tutorial(environment: Mapping[str, str], folder: Path) -> None:
    """Every step ends as the page says and prints what the page says, and no daemon has a traceback in its log."""
    if shutil.which("openssl") is None:
        pytest.skip("the tutorial needs the openssl command")
    ports = [free_port() for _ in _PORTS]

    def here(text: str) -> str:
        for old, new in zip(_PORTS, ports, strict=True):
            text = text.replace(old, str(new))
        return text

    for tag, name in (("run: tutorial config", "shards.json"), ("run: tutorial program", "app.py")):
        (text,) = tagged(PAGE, tag)
        (folder / name).write_text(here(text))
    script = [_BEFORE, f"export PYSHARD_BOOTSTRAP=127.0.0.1:{ports[-1]}; exec 2>&1"]  # since the default isn't printed
    for block, _ in steps():
        script += [here(block.text), "printf '\\n== %s\\n' $?"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        timeout=150,
        check=False,
    )
    printed = re.split(r"\n?\n== (\d+)\n", done.stdout)
    for number, (block, expected) in enumerate(steps()):
        output, code = printed[2 * number : 2 * number + 2]
        assert (block.text, code) == (block.text, "3" if block.tag == "run: tutorial unavailable" else "0"), output
        if expected is not None:
            pattern = re.escape(_narrow(here(expected))).replace("…", ".+")
            assert re.fullmatch(pattern, _narrow(output)), (block.text, output)
    until(lambda: not list(folder.glob("*.pid")), "the daemons end")
    for name in ("shard0", "replica0", "shard1", "shard2", "bootstrap"):
        assert "Traceback" not in (folder / f"{name}.log").read_text()


def _narrow(text: str) -> str:
    """A text without the blanks by which tables are made even: other ports have other widths."""
    return re.sub(r" +(\n|$)", r"\1", re.sub(" +", " ", text)).strip()
