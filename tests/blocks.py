"""The code blocks of README.md and docs/: each says, in a comment before it, how it is to be run."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

CHECKOUT = Path(__file__).resolve().parent.parent

_BLOCK = re.compile(
    r"(?:<!-- (?P<tag>[a-z: ]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@attrs.frozen
class Block:
    """One fenced block.

    :param tag: the comment right before it, such as "run: python"; empty when there is none.
    """

    tag: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page, given its path in the checkout."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    return [Block(found["tag"] or "", found["language"], found["text"]) for found in _BLOCK.finditer(text)]


def tagged(page: str, tag: str) -> list[str]:
    """The texts of a page's blocks with that tag."""
    return [block.text for block in blocks(page) if block.tag == tag]
