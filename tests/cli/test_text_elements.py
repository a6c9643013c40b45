"""How many elements JSON has: counted before anything is made of it, in a file's lines and in a document."""

from __future__ import annotations

import io
from base64 import b64encode

import attrs
import pytest
from cli.any_documents import any_document
from hypothesis import given
from hypothesis import strategies as st

from pyshard.cli import bulk_document_text, document_text, text_elements
from pyshard.cli.document_text import TextError, as_json, parse
from pyshard.cli.input_text import read_document
from pyshard.cli.line_formats import parse_line, parse_lines_plainly
from pyshard.cli.text_elements import has_more, text_elements_fault
from pyshard.errors import ConfigError
from pyshard.model import element_limit
from pyshard.model.document_encoding import Document
from pyshard.model.element_limit import VARIABLE
from pyshard.settings import settings

MOST = 1000

STRANGE: list[Document] = ['"', "\\", '\\"', ",", "[["]

#: What has as many elements as a document may have, in different forms.
MOST_OF_ALL: list[Document] = [
    [[]] * MOST,
    [{}] * MOST,
    [1] * MOST,
    {str(number): "a, [b], {c: 1}" for number in range(MOST // 2)},
    [b64encode(b"x" * number) for number in range(MOST)],
    [1 << 20_000] * MOST,
    [*[STRANGE] * (MOST // 6), *[0] * (MOST % 6)],
    [{"$bytes": 1}] * (MOST // 3),
]


class NeverAsked:
    """In place of the decoder."""

    def decode(self, text: str) -> object:
        """Fail."""
        pytest.fail("nothing is made of it")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let documents have at most so many elements."""
    for module in (element_limit, text_elements, bulk_document_text):
        monkeypatch.setattr(module, "settings", attrs.evolve(settings, MAX_ELEMENTS=MOST))


def counted(document: Document) -> int:
    """How many elements a document has, by a walk."""
    if isinstance(document, dict):
        return 2 * len(document) + sum(map(counted, document.values()))
    return len(document) + sum(map(counted, document)) if isinstance(document, list) else 0


@given(any_document, st.booleans())
def test_any_document(document: Document, spaced: bool) -> None:
    """None has more than it has; and none has fewer, but where a name looks like a tag."""
    text = as_json(document)
    if spaced:
        text = text.replace("[]", "[ \n]").replace("{}", "{ }")
    assert not has_more(text, counted(document))
    assert '"$' in text or not counted(document) or has_more(text, counted(document) - 1)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("document", MOST_OF_ALL)
def test_most_elements(document: Document) -> None:
    """So many are read: as a document, and as a line of either format."""
    text = as_json(document)
    assert len(text) > MOST
    assert parse(text) == document
    assert parse_line(f"a|{text}".encode()) == ("a", document)
    assert parse_line(f'{{"key": "a", "doc": {text}}}'.encode(), jsonl=True) == ("a", document)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("element", ["[]", "{ }", "1", '"a"', '["b"]', '{"c": [1, 2]}'])
def test_more_elements(monkeypatch: pytest.MonkeyPatch, element: str) -> None:
    """They are refused with what may be done, and nothing is made of them: not for a look at many lines either."""
    monkeypatch.setattr(document_text, "decoder", NeverAsked())
    monkeypatch.setattr(bulk_document_text, "decoder", NeverAsked())
    text = f"[{', '.join([element] * (MOST + 3))}]"
    refused = rf"^the document has more than 1,000 elements .*{VARIABLE}=NUMBER allows more"
    for lines, jsonl in ([f"a|{text}"], False), ([f'{{"key": "a", "doc": {text}}}'], True):
        assert parse_lines_plainly([line.encode() for line in lines], jsonl) is None
        with pytest.raises(TextError, match=refused):
            parse_line(lines[0].encode(), jsonl)
    with pytest.raises(TextError, match=refused):
        read_document(io.BytesIO(text.encode()))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("text", ['""' * 10_000, '{"$int"' * 10_000, "[]" * 10_000, "[" * 10_000, '"\\' * 10_000])
def test_what_is_no_json(text: str) -> None:
    """It is refused by one or the other, and to count ends."""
    with pytest.raises(TextError):
        parse(f"[{text}")


@pytest.mark.usefixtures("few")
def test_more_may_be_allowed() -> None:
    """By the environment, as where a document is written; what is no number is refused."""
    text = as_json([1] * (MOST + 1))
    assert text_elements_fault(text, 0, {}) is not None
    assert text_elements_fault(text, 1, {}) is None
    assert text_elements_fault(text, 0, {VARIABLE: str(MOST + 1)}) is None
    with pytest.raises(ConfigError, match="expected a whole number"):
        text_elements_fault(text, 0, {VARIABLE: "many"})
