"""Documents as text: how the command reads them from its arguments and prints them. Pure.

Rules:

- text that is JSON is read as JSON, with ``NaN``, ``Infinity`` and ``-Infinity``; other text is a str;
- text that starts with ``{`` or ``[`` must be JSON;
- what JSON leaves open is refused where something would be lost: a name that stands twice in an object, and a number
  past all floats, which would become infinite;
- what has more elements than a document may have is refused before anything is made of it;
- what `as_json` and `as_text` write, `parse` reads back as an equal document;
- bytes are written as ``{"$bytes": base64}``;
- ints that Python refuses in decimal (more than 4,300 digits) are written as ``{"$int": hexadecimal}``;
- a dict of the user that looks like one of these gets one more ``$``, which `parse` takes off again.
"""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode, b64encode
from collections import Counter
from math import isinf
from typing import cast

from pyshard.cli.text_elements import text_elements_fault
from pyshard.errors import shortened
from pyshard.model.document_encoding import Document

_TAG = re.compile(r"\$+(bytes|int)")
_HEXADECIMAL = re.compile(r"-?0x[0-9a-fA-F]+")

#: Characters that JSON doesn't escape, but that some programs read as a line's end or a terminal's command.
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029]")

_SPACE = " \t\n\r"

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_NAMED = {"null", "true", "false", "NaN", "Infinity", "-Infinity"}


class TextError(ValueError):
    """Text that is no document.

    :param reason: what was found and what is expected, in one line.
    :param line: the line of the text with the mistake, from 1; 0 when it isn't known.
    :param column: the column, likewise.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {reason}" if line else reason)
        self.reason = reason
        self.line = line
        self.column = column


def parse(text: str, beside: int = 0) -> Document:
    """The document that a text stands for.

    :param beside: how many elements of the text aren't the document's.
    :raises TextError: it starts like JSON and isn't, or its JSON holds something that is no document.
    """
    if not may_be_json(text):
        return text
    if (fault := text_elements_fault(text, beside)) is not None:
        raise TextError(fault)
    try:
        return cast("Document", decoder.decode(text))
    except TextError:
        raise
    except json.JSONDecodeError as error:
        start = text.lstrip(_SPACE)[:1]
        if start not in ("{", "["):
            return text
        raise TextError(
            f"text that starts with {start} must be JSON, and this is not ({error.msg[:1].lower()}{error.msg[1:]}); "
            "put it in double quotes to have a string",
            error.lineno,
            error.colno,
        ) from None
    except RecursionError:
        raise TextError("the document nests too deep") from None
    except ValueError:
        raise TextError('an int has too many digits; write it as {"$int": "0x…"}, in hexadecimal') from None


def may_be_json(text: str) -> bool:
    """Whether a text may be JSON, by its first character, and a number or word by all of them.

    Most texts that aren't are known by that; to have the decoder refuse them takes ten times as long.
    """
    text = text.strip(_SPACE)
    first = text[:1]
    if first in ('"', "{", "["):
        return True
    if first == "-" or first.isdigit():
        return _NUMBER.fullmatch(text) is not None or text in _NAMED
    return text in _NAMED


def as_json(document: Document) -> str:
    """A document as one line of JSON."""
    try:
        text = encoder.encode(document)
    except ValueError:  # an int that is too long
        text = encoder.encode(_escaped(document))
    else:
        if TAGGED in text:
            text = encoder.encode(_escaped(document))
    return without_unseen(text)


def without_unseen(text: str) -> str:
    """JSON in which the characters that some programs take for a line's end or a command are escaped."""
    if text.isprintable():  # as is mostly so, and known sooner
        return text
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_text(document: Document) -> str:
    """A document as `parse` reads it: a str as it is where `parse` gives it back, everything else as JSON."""
    return document if isinstance(document, str) and is_plain(document) else as_json(document)


def is_plain(text: str) -> bool:
    """Whether a str is written as it is: on one line, and `parse` gives it back."""
    try:
        return text.isprintable() and parse(text) == text
    except TextError:
        return False


def _escaped(value: Document) -> Document:
    """A copy in which everything that JSON can't carry is an object with one field."""
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, int):
        return value if _is_decimal(value) else {"$int": f"{value:#x}"}
    if isinstance(value, list):
        return [_escaped(element) for element in value]
    if isinstance(value, dict):
        copy = {key: _escaped(field) for key, field in value.items()}
        if len(copy) != 1:
            return copy
        return {f"${key}" if _TAG.fullmatch(key) else key: field for key, field in copy.items()}
    return value


def _is_decimal(number: int) -> bool:
    """Whether Python writes and reads an int in decimal; `sys.set_int_max_str_digits` sets the limit."""
    try:
        str(number)
    except ValueError:
        return False
    return True


def _finite(text: str) -> float:
    """A number with a fraction or an exponent."""
    number = float(text)
    if isinf(number):
        raise TextError(
            f"{shortened(text)} is past the largest number, {sys.float_info.max:g}; "
            "write Infinity or -Infinity, or put it in double quotes to have a string"
        )
    return number


def _unescaped(pairs: list[tuple[str, object]]) -> object:
    """The value that a JSON object stands for: itself, unless its only field is one of the tags."""
    given = dict(pairs)
    if len(given) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise TextError(f"an object has the name {json.dumps(shortened(twice), ensure_ascii=False)} twice")
    if len(given) != 1:
        return given
    [(key, value)] = given.items()
    if not _TAG.fullmatch(key):
        return given
    if key.startswith("$$"):
        return {key[1:]: value}
    try:
        if key == "$bytes" and isinstance(value, str):
            return b64decode(value, validate=True)
        if key == "$int" and isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
            return int(value, 16)
    except ValueError:
        pass
    expected = "text in base64" if key == "$bytes" else 'text such as "0x1f"'
    raise TextError(f'an object with the one field "{key}" must hold {expected}; to store it as it is, write "${key}"')


#: What may be in JSON that `_escaped` has to write in another way; of bytes nothing else comes out.
TAGGED = '{"$'

encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=lambda _: {"$bytes": ""})
decoder = json.JSONDecoder(object_pairs_hook=_unescaped, parse_float=_finite)
