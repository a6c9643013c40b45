"""Whoever has installed pyshard has no folder docs/: messages name its pages by their titles, as the site shows them.

Messages are all texts of the code but docstrings; and the help, man pages, units and alert rules that the wheel brings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import CHECKOUT
from message_literals import literals

import pyshard

#: What is in the checkout alone: a file of a folder that isn't installed, or a page beside README.md.
_IN_CHECKOUT_ALONE = re.compile(r"(?<![\w./-])(?:docs|etc|examples|benchmarks|tests)/[\w./-]+|\b\w+\.(?:md|rst)\b")
#: What the wheel puts beside its Python; `setup.py` has the folders.
_INSTALLED = re.compile(r"share/pyshard/([\w./-]*\w)")
_NAMED = re.compile(r'documentation,\s+\\?"([^"\\]+)\\?"(?:,\s+\\?"([^"\\]+)\\?")?')


def copied() -> Iterator[Path]:
    """The files that the wheel brings for operators: `setup.py`."""
    yield from (CHECKOUT / "docs" / "man").glob("*.1")
    yield from (CHECKOUT / "etc").glob("*.json")
    for folder in ("grafana", "prometheus", "systemd"):
        yield from (CHECKOUT / "etc" / folder).glob("*.*")
    yield from (Path(pyshard.__file__).parent / "bootstrap" / "status_page" / "assets").iterdir()


def texts() -> Iterator[tuple[str, str]]:
    """Where a text is, for whoever reads a failure, and the text."""
    for text in literals():
        yield text[:40], text
    for path in copied():
        yield path.name, re.sub(r'^\.\\".*\n', "", path.read_text(encoding="utf-8")).replace("\\-", "-")


def pages() -> dict[str, str]:
    """Title → text of each page of the site."""
    every = [*(CHECKOUT / "docs").glob("*.md"), CHECKOUT / "SECURITY.md"]
    found = [path.read_text(encoding="utf-8") for path in every]
    return {text.partition("\n")[0].removeprefix("# "): text for text in found if text.startswith("# ")}


def named(text: str) -> list[tuple[str, str]]:
    """The pages that a text names, each with its section; empty: none."""
    unwrapped = re.sub(r"\n#?\s*", " ", text)
    return [(page, section) for page, section in _NAMED.findall(unwrapped)]


TITLES = sorted({one for _, text in texts() for one in named(text)})


def test_nothing_names_a_file_that_is_not_installed() -> None:
    """A message, or a file that operators copy, names no path of the checkout."""
    assert [(place, found) for place, text in texts() for found in _IN_CHECKOUT_ALONE.findall(text)] == []


def test_what_is_named_is_installed() -> None:
    """What a message names below share/pyshard is there, since it is made of etc/."""
    names = {name for _, text in texts() for name in _INSTALLED.findall(text)}
    assert "shards.json" in names
    assert [name for name in sorted(names) if not (CHECKOUT / "etc" / name).is_file()] == []


@pytest.mark.parametrize(("page", "section"), TITLES)
def test_pages_exist(page: str, section: str) -> None:
    """Each page that is named has that title; each section that is named is in it."""
    assert page in pages()
    assert not section or f"\n## {section}\n" in pages()[page]


def test_pages_are_named() -> None:
    """They are found, wherever they stand: in the code, in a man page, in an alert rule, in a unit."""
    assert {"TLS", "Availability", "Services and logs", "Security", "Where the cluster's state is kept"} <= {
        page for page, _ in TITLES
    }
