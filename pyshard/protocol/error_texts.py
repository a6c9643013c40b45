"""The texts of errors that answers carry, kept within bounds. Pure.

A batch has 10,000 operations, each of which may be refused by a text of its own. So all texts of one answer have a
bound, and the answer always fits into a box, whatever else it has.

Rules:

- each text is cut;
- once the texts of an answer have `settings.ERROR_BYTES`, further errors keep their code, and say `MANY`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyshard.message_texts import MAX_MESSAGE
from pyshard.settings import settings

#: In place of a text for which there is no room.
MANY = "one of many such errors"


def bounded(errors: Iterable[dict[int, tuple[str, str]]]) -> list[dict[int, tuple[str, str]]]:
    """The errors of all runs of a batch, with texts that have no more than `settings.ERROR_BYTES` together.

    :param errors: for each run position → code and text.
    """
    room = settings.ERROR_BYTES
    sizes: dict[str, int] = {}
    found: list[dict[int, tuple[str, str]]] = []
    for refusals in errors:
        kept: dict[int, tuple[str, str]] = {}
        for position, (code, text) in refusals.items():
            cut = text[:MAX_MESSAGE]
            if cut not in sizes:  # many errors share a text
                sizes = {cut: len(cut.encode("utf-8", "replace"))}
            fits = room >= sizes[cut]
            room -= sizes[cut] if fits else 0
            kept[position] = (code, cut if fits else MANY)
        found.append(kept)
    return found
