"""JSON of peers: what is refused before it is decoded, and in which words."""

from __future__ import annotations

import pytest

from pyshard.errors import BadRequest
from pyshard.message_texts import MAX_MESSAGE
from pyshard.model.bounded_json import decode_json
from pyshard.settings import settings


def test_what_is_read() -> None:
    """A text of the type is its value."""
    assert decode_json(b'{"a":[1,2]}', dict[str, list[int]], "figures") == {"a": [1, 2]}


@pytest.mark.parametrize("pair", [b"[0,0],", b"{},", b"[],", b"0,"])
def test_elements(pair: bytes) -> None:
    """As many elements as a document may have are read, and no more: counted by what stands between them."""
    each = pair.count(b"[") + pair.count(b"{") + pair.count(b",")
    most = (settings.MAX_ELEMENTS - 1) // each
    assert len(decode_json(b"[" + (pair * most)[:-1] + b"]", list[object], "figures")) == most
    many = b"[" + (pair * (most + 2))[:-1] + b"]"
    with pytest.raises(BadRequest, match=r"^figures: found about 1,00\d,\d\d\d elements, expected at most 1,000,000$"):
        decode_json(many.replace(b"0", b"?"), list[object], "figures")  # it is no JSON, which nobody finds out


def test_bytes() -> None:
    """A text is as long as it may be, and no longer."""
    assert decode_json(b"[1]", list[int], "figures", 3) == [1]
    with pytest.raises(BadRequest, match=r"^figures: found 4 bytes, expected at most 3$"):
        decode_json(b"[1 ]", list[int], "figures", 3)


@pytest.mark.parametrize(
    "text", [b"", b"[1", b'["\xff"]', b"[" * 100_000, b'{"a":1}', b'["' + b"\x1b" * 100_000 + b'"]']
)
def test_what_can_not_be_read(text: bytes) -> None:
    """It is one line of a bounded length."""
    with pytest.raises(BadRequest, match=r"^figures: ") as refused:
        decode_json(text, list[int], "figures")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < MAX_MESSAGE + 20
