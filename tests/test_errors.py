"""The public errors: one base, a code for each, a message as the only argument."""

from __future__ import annotations

import re
import sys

import pytest

from pyshard import errors
from pyshard.errors import (
    BY_CODE,
    DocumentTooLarge,
    InvalidDocument,
    PyshardError,
    from_code,
    plain,
    shortened,
    shown_value,
)
from pyshard.message_texts import MAX_MESSAGE

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, PyshardError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_code_is_the_name(cls: type[PyshardError]) -> None:
    """Each class has a code of its own: its name in capitals, with underscores between the words."""
    expected = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).upper()
    assert vars(cls)["code"] == expected


@pytest.mark.parametrize("cls", CLASSES)
def test_message_is_the_only_argument(cls: type[PyshardError]) -> None:
    """An error is made of one message, and reads as that message."""
    error = cls("what was found, what was expected")
    assert (str(error), error.args) == ("what was found, what was expected", ("what was found, what was expected",))


def test_codes_are_unique() -> None:
    """No two errors share a code, and each code is ASCII, as it crosses the wire."""
    assert {cls.code: cls for cls in CLASSES} == BY_CODE
    assert len(BY_CODE) == len(CLASSES)
    assert all(code.isascii() for code in BY_CODE)


def test_document_too_large_is_an_invalid_document() -> None:
    """Who catches InvalidDocument catches a document that is too large, too."""
    assert issubclass(DocumentTooLarge, InvalidDocument)


@pytest.mark.parametrize("cls", CLASSES)
def test_error_crosses_the_wire(cls: type[PyshardError]) -> None:
    """A code and a message give back the class and the message they came from."""
    error = from_code(cls.code, "why")
    assert (type(error), str(error)) == (cls, "why")


def test_unknown_code_is_named() -> None:
    """A code that only a newer peer knows comes back as the base, which names it."""
    error = from_code("FROM_THE_FUTURE", "why")
    assert (type(error), str(error)) == (PyshardError, "FROM_THE_FUTURE: why")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("shard 'a' is „voll“ – 満杯", "shard 'a' is „voll“ – 満杯"),
        ("first\nsecond\r\n", r"first\nsecond\r\n"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("\u202eright to left\ud800", r"\u202eright to left\ud800"),
    ],
)
def test_plain(message: str, shown: str) -> None:
    """Nothing that a peer writes ends a line or moves a terminal's cursor."""
    assert plain(message) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("", 60, ""),
        ("x" * 60, 60, "x" * 60),
        ("x" * 61, 60, "x" * 57 + "..."),
        ("ü" * 100_000, 60, "ü" * 57 + "..."),
        ("hello", 5, "hello"),
        ("hello!", 5, "he..."),
    ],
)
def test_shortened(text: str, length: int, shown: str) -> None:
    """What is quoted has at most so many characters, and three dots where some are missing."""
    assert shortened(text, length) == shown
    assert len(shown) <= length


def test_texts_are_shortened_to_a_line() -> None:
    """Without a length, a message quotes up to 60 characters."""
    assert shortened("k" * 1000) == "k" * 57 + "..."


class Broken:
    """A value whose repr fails."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


class Rude:
    """A value whose repr has more than one line."""

    def __repr__(self) -> str:
        return "one\ntwo"


def around() -> list[object]:
    """A list that contains itself."""
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (True, "True"),
        ("5", "'5'"),
        (b"5", "b'5'"),
        (-1.5, "-1.5"),
        (10**40, "1" + "0" * 40),
        (10**5000, "<int of about 5,001 digits>"),
        (-(10**5000), "<int of about 5,001 digits>"),
        (["localhost", 9192], "['localhost', 9192]"),
        ([10**5000], "[<int of about 5,001 digits>]"),
        ({"a": {1}}, "{'a': {1}}"),
        (Rude(), "one\\ntwo"),
        (list, "<class 'list'>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_in_messages(value: object, shown: str) -> None:
    """A value stands in a message as Python writes it, on one line; a huge int as its number of digits."""
    assert shown_value(value) == shown


@pytest.mark.parametrize(
    "value",
    ["x" * 10**7, b"x" * 10**7, [[["x"] * 1000] * 1000] * 1000, list(range(10**6)), around(), Broken(), {1: Broken()}],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_shown_shortly(value: object) -> None:
    """Whatever the value is, what is shown of it has at most 60 characters, and showing it never fails."""
    assert 0 < len(shown_value(value)) <= 60


@pytest.mark.parametrize("digits", [100, 640, 641, 4300, 4301])
def test_ints_are_shown_whatever_python_writes_out(digits: int) -> None:
    """An int is shown even where Python writes out as few digits as it can be told to."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert len(shown_value(10**digits)) <= 60
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("code", [*BY_CODE, "X" * 100_000, "\x1b[2J"])
@pytest.mark.parametrize("message", ["m" * 2**24, "\U000e0001" * 2**20, "\n" * 100_000], ids=["long", "odd", "lines"])
def test_what_a_peer_gives_is_cut(code: str, message: str) -> None:
    """An error that crossed the wire is a line of bounded length, whatever the peer gave as code and message."""
    text = str(from_code(code, message))
    assert len(text) <= MAX_MESSAGE + 62
    assert text.isprintable()


def test_a_message_that_may_be_is_taken_whole() -> None:
    """What a daemon of ours gives is at most as long as what is taken of it."""
    assert str(from_code("BAD_REQUEST", "m" * MAX_MESSAGE)) == "m" * MAX_MESSAGE
