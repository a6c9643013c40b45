"""Documents as text: what is read as JSON, what as a string, and that nothing is lost both ways."""

from __future__ import annotations

import json

import pytest
from cli.any_documents import any_document, same
from hypothesis import given

from pyshard.cli.document_text import TextError, as_json, as_text, parse
from pyshard.model.document_encoding import Document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", "test"),
        ('{"test": "test"}', {"test": "test"}),
        ("42", 42),
        ("-5", -5),
        ("4.0", 4.0),
        ("true", True),
        ("null", None),
        ("[1, [2]]", [1, [2]]),
        ('"42"', "42"),
        (" 42\n", 42),
        ("", ""),
        (" ", " "),
        ("True", "True"),
        ("4 2", "4 2"),
        ('"a" b', '"a" b'),
        ("'a'", "'a'"),
        ("a [b]", "a [b]"),
        ("-Infinity", float("-inf")),
        ("\ufeff1", "\ufeff1"),
        ('{"$bytes": "AAH/"}', b"\x00\x01\xff"),
        ('{"$bytes": ""}', b""),
        ('{"$int": "-0x1F"}', -31),
        ('{"$$bytes": "AAH/"}', {"$bytes": "AAH/"}),
        ('{"$$$int": 1}', {"$$int": 1}),
        ('[{"$bytes": "AA=="}, {"$bytes": "", "a": 1}]', [b"\0", {"$bytes": "", "a": 1}]),
        ('{"$other": 1}', {"$other": 1}),
    ],
)
def test_parse(text: str, expected: Document) -> None:
    """JSON is taken as JSON, other text as a string, and tagged objects as what JSON can't carry."""
    assert same(parse(text), expected)


def test_parse_nan() -> None:
    """NaN is the float."""
    assert same(parse("NaN"), float("nan"))


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ('{"a" 1}', 1, 6, "expecting ':' delimiter"),
        ('{"a":\n  [1,\n   x]}', 3, 4, "expecting value"),
        ("  [1, 2", 1, 8, "expecting ',' delimiter"),
        ("[1] and more", 1, 5, "extra data"),
        ("{", 1, 2, "expecting property name"),
        ('{"a": "b\nc"}', 1, 9, "invalid control character"),
    ],
)
def test_text_that_starts_like_json_is_no_string(text: str, line: int, column: int, part: str) -> None:
    """Text that starts with { or [ and isn't JSON is an error with its place."""
    with pytest.raises(TextError) as refused:
        parse(text)
    assert (refused.value.line, refused.value.column) == (line, column)
    assert part in refused.value.reason
    assert str(refused.value) == f"line {line}, column {column}: {refused.value.reason}"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"$bytes": 1}', 'the one field "$bytes" must hold text in base64; to store it as it is, write "$$bytes"'),
        ('{"$bytes": "A"}', "must hold text in base64"),
        ('{"$bytes": "AA==\\n"}', "must hold text in base64"),
        ('[{"$int": "31"}]', 'the one field "$int" must hold text such as "0x1f"'),
        ('{"$int": 31}', 'must hold text such as "0x1f"'),
        ("9" * 5000, 'an int has too many digits; write it as {"$int": "0x…"}, in hexadecimal'),
        ("[" * 100_000, "the document nests too deep"),
    ],
)
def test_json_that_is_no_document(text: str, part: str) -> None:
    """JSON that is no document is an error that says what to write."""
    with pytest.raises(TextError) as refused:
        parse(text)
    assert part in refused.value.reason


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("hello world", '"hello world"'),
        ({"hello": "wörld"}, '{"hello": "wörld"}'),
        (4.0, "4.0"),
        (float("nan"), "NaN"),
        (b"\x00\x01\xff", '{"$bytes": "AAH/"}'),
        ({"$bytes": "AAH/"}, '{"$$bytes": "AAH/"}'),
        ({"$bytes": 1, "a": b""}, '{"$bytes": 1, "a": {"$bytes": ""}}'),
        pytest.param([16**5000], '[{"$int": "0x1' + "0" * 5000 + '"}]', id="an int of 6,021 digits"),
        pytest.param(10**4299, "1" + "0" * 4299, id="an int of 4,300 digits"),
        pytest.param([b"", 10**4299], '[{"$bytes": ""}, 1' + "0" * 4299 + "]", id="the same, beside bytes"),
        ("a\u2028b\x7f\x85\n", '"a\\u2028b\\u007f\\u0085\\n"'),
        ('{"$bytes": ""}', '"{\\"$bytes\\": \\"\\"}"'),
    ],
)
def test_as_json(document: Document, expected: str) -> None:
    """A document's JSON, as `read` prints it."""
    assert as_json(document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("test", "test"),
        ("", ""),
        (" a ", " a "),
        ("a|b", "a|b"),
        ("42", '"42"'),
        ("NaN", '"NaN"'),
        ('"a"', '"\\"a\\""'),
        ("[x", '"[x"'),
        ("a\nb", '"a\\nb"'),
        ("a\r", '"a\\r"'),
        ("9" * 5000, f'"{"9" * 5000}"'),
        (42, "42"),
        ({"test": "test"}, '{"test": "test"}'),
    ],
)
def test_as_text(document: Document, expected: str) -> None:
    """A string stands for itself, unless it would be read as something else."""
    assert as_text(document) == expected


@given(any_document)
def test_what_is_written_is_read_back(document: Document) -> None:
    """Both ways to write a document give one line, which reads back as an equal document, types included."""
    for text in (as_json(document), as_text(document)):
        assert same(parse(text), document)
        assert len(f"{text}.".splitlines()) == 1


@given(any_document)
def test_as_json_is_json(document: Document) -> None:
    """A reader of JSON that knows NaN and Infinity, as Python's does, can read it."""
    json.loads(as_json(document))
