"""A line of `pyshard shell` → its words, as a shell of the system has them; and a word as it is to be typed. Pure."""

from __future__ import annotations

import shlex

#: The characters between words.
BLANKS = " \t\n"


class LineError(Exception):
    """A line that can't be taken apart. The message says why."""


def words_of(line: str) -> list[str]:
    """The words of a line; none of an empty one and of a comment.

    A ``pyshard`` in front is left out, so that what stands in documentation can be pasted.

    :raises LineError: a quote isn't closed.
    """
    if line.lstrip().startswith("#"):
        return []
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise LineError(f"{str(error).lower()}; a word with blanks or quotes stands in single quotes") from None
    return words[1:] if words[:1] == ["pyshard"] else words


def words_before(line: str, end: int) -> list[str] | None:
    """The words before the one that begins at a place; None: it is within quotes that are still open."""
    try:
        return words_of(line[:end])
    except LineError:
        return None


def typed(word: str) -> str:
    """A word as it is to be typed: quoted where it must be."""
    return shlex.quote(word)
