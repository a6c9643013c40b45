"""What the look-up shows of a document."""

from __future__ import annotations

import json
from typing import Any

from pyshard.bootstrap.status_page.key_look_up import MOST_TEXT, shown_item, text_of
from pyshard.model.document_encoding import Document, encode
from pyshard.protocol.batch_answers import ITEM
from pyshard.settings import settings


def test_long_and_strange_documents() -> None:
    """Text is cut and printable; large, damaged and unprintable ones are told of."""

    def item(record: bytes, expires: int = 0) -> bytes:
        return ITEM.pack(2**60 + 1, expires, 500) + record

    assert shown_item(item(encode(5)[0], 9)) == {
        "found": True,
        "version": str(2**60 + 1),
        "expires_in": 0.5,
        "bytes": len(encode(5)[0]),
        "document": "5",
    }
    assert "too large" in str(shown_item(item(encode("x" * settings.SHOWN_RECORD_BYTES)[0]))["note"])
    assert "can't be shown" in str(shown_item(item(b"\xff" * 10))["note"])
    long = shown_item(item(encode(["x"] * 50_000)[0]))
    assert len(str(long["document"])) == MOST_TEXT
    assert "beginning" in str(long["note"])
    assert text_of({"a": "\u202e\x07"}) == ('{\n  "a": "\\u202e\\u0007"\n}', False)
    odd: dict[str, Document] = {"\U000e0001\x7f": "\U000e0041 \U0010ffff\u2028\ud7ff\ue000"}
    assert json.loads(text_of(odd)[0]) == odd
    assert text_of(odd)[0].replace("\n", "").isprintable()
    assert "too many digits" in text_of(10**5000)[0]
    deep: Any = 1
    for _ in range(settings.MAX_NESTING - 1):
        deep = [deep]
    assert text_of(deep)[1] is False
