"""Many documents as text at once, as `load` and `cat` want them. Pure.

Rules:

- each function gives what its plain twin in `pyshard.cli.document_text` gives for each document, in one call of the
  JSON module over all of them;
- between the documents stands a mark that no document has, as it is random. A mark that isn't found where it was put
  means that the documents have to be taken one by one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from pyshard.cli.document_text import TAGGED, as_json, decoder, encoder, is_plain, may_be_json, without_unseen
from pyshard.model.document_encoding import Document
from pyshard.settings import settings

_MARK = os.urandom(16).hex()
_BETWEEN = f', "{_MARK}", '


def as_json_many(documents: Sequence[Document]) -> list[str]:
    """What `as_json` gives for each document."""
    marked: list[Document] = [_MARK] * (2 * len(documents) - 1)
    marked[::2] = documents
    try:
        texts = without_unseen(encoder.encode(marked))[1:-1].split(_BETWEEN)
    except ValueError:  # an int that is too long
        texts = []
    if len(texts) != len(documents):
        return list(map(as_json, documents))
    if any(TAGGED in text for text in texts):
        return [as_json(doc) if TAGGED in text else text for doc, text in zip(documents, texts, strict=True)]
    return texts


def as_text_many(documents: Sequence[Document]) -> list[str]:
    """What `as_text` gives for each document."""
    texts = as_json_many(documents)
    if str not in set(map(type, documents)):
        return texts
    return [doc if isinstance(doc, str) and is_plain(doc) else text for doc, text in zip(documents, texts, strict=True)]


def parse_many(texts: Sequence[str]) -> list[Document] | None:
    """What `parse` gives for each text.

    :return: None where some may have to be refused: one by one it turns out which.
    """
    documents: list[Document] = list(texts)
    places = [place for place, text in enumerate(texts) if may_be_json(text)]
    if not places:
        return documents
    if max(len(texts[place]) for place in places) > settings.MAX_ELEMENTS:  # one may have too many
        return None
    try:
        found = decoder.decode(f"[{_BETWEEN.join([texts[place] for place in places])}]")
    except (ValueError, RecursionError):
        return None
    if len(found) != 2 * len(places) - 1 or found[1::2].count(_MARK) != len(places) - 1:
        return None  # what looks like one text was several, or several were one
    if len(places) == len(texts):
        return cast("list[Document]", found[::2])
    for place, document in zip(places, found[::2], strict=True):
        documents[place] = document
    return documents
