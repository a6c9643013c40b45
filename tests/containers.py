"""What docs/containers.md says, in parts: the commands in its YAML, which stand there as lists of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from blocks import tagged

PAGE = "docs/containers.md"

#: The cluster's config file on that page.
(CONFIG,) = tagged(PAGE, "run: container config")

#: The lines of shell by which a client outside gets in.
(OUTSIDE,) = tagged(PAGE, "run: outside")


def lists(tag: str, field: str) -> list[list[str]]:
    """The lists of words that stand in a field of the page's YAML, in their order.

    :param tag: of the block.
    """
    (text,) = tagged(PAGE, tag)
    found: list[list[str]] = [
        json.loads(words) for words in re.findall(rf"^ *{field}: (\[\".*\])$", text, re.MULTILINE)
    ]
    assert found, (tag, field)
    return found


def replaced(words: Sequence[str], others: dict[str, str]) -> list[str]:
    """The words with other texts in place of some that must stand in them, each at least once."""
    text = json.dumps(words)
    for old, new in others.items():
        assert old in text, (old, words)
        text = text.replace(old, new)
    changed: list[str] = json.loads(text)
    return changed
