"""The man pages say what the command and the daemons do, and are ones that `man` can show."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from man_pages import FOLDER, escaped, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_as_the_options_are(name: str) -> None:
    """A page is what `python tests/man_pages.py` writes: run it after a change of options or of their help."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]


def test_no_other_pages() -> None:
    """No page is left of what is no more."""
    assert {path.name for path in FOLDER.iterdir()} == PAGES.keys()


@pytest.mark.parametrize("name", PAGES)
def test_lint(name: str) -> None:
    """mandoc finds nothing wrong, but that pages have no date, which would change with each writing."""
    program = shutil.which("mandoc")
    if program is None:
        pytest.skip("there is no mandoc here (Debian's package mandoc)")
    done = subprocess.run(
        [program, "-T", "lint", "-W", "warning", str(FOLDER / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_escaped() -> None:
    """Nothing in a help text is taken for a request of roff's."""
    assert escaped(".state beside\n'it', \\ or --all") == "\\&.state beside\n\\&'it', \\e or \\-\\-all"
