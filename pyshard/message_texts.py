"""How what a peer or a user wrote, and values of any type, stand in messages. Pure.

Rules:

- a message is one line of printable characters, whoever wrote a part of it (`plain`);
- a text is cut (`shortened`), and so is what stands for a value (`shown_value`);
- what a peer gives as a text is both when it is read (`of_peer`), so that none of it can fill a log;
- a name that a peer gives where names are compared isn't changed but refused, if it has other characters
  (`can_be_shown`);
- nothing here fails, or does much work for a huge value.
"""

from __future__ import annotations

import reprlib

#: Characters of a message that `plain` looks at: well over what any message of pyshard's own has.
MOST_PLAIN = 10_000

#: Characters of an error's message that cross the wire, or that are taken of what did.
MAX_MESSAGE = 2000


def plain(message: str) -> str:
    """The beginning of a message as one line of printable characters, since a peer may have written it."""
    return escaped(shortened(message, MOST_PLAIN))


def escaped(text: str) -> str:
    """A text of any length as one line of printable characters: escapes stand for all others.

    Others may have written it, of such characters alone. So all goes by calls for the whole text: a `repr` has the same
    escapes, and some for backslashes, and for single quotes, if there are double ones, too.
    """
    if text.isprintable():
        return text
    if "'" in text:
        return escaped(text.replace("~", "~0").replace("'", "~1")).replace("~1", "'").replace("~0", "~")
    return repr(text)[1:-1].replace("\\\\", "\\")


def escaped_plainly(text: str) -> str:
    """What `escaped` gives, character by character."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def json_escaped(text: str) -> str:
    """A text of JSON as one line of printable characters, which is the same JSON."""
    return text if text.isprintable() else text.translate(_JsonEscapes())


def can_be_shown(text: str) -> bool:
    """Whether a name can be shown as it is: no character of it ends a line, commands a terminal, or isn't seen.

    A character that this Python's Unicode doesn't have yet counts as one that can be shown. Else a name that a newer
    Python has taken would be refused by an older one.
    """
    if text.isprintable():
        return True
    from unicodedata import category  # which hardly anybody has a use for

    return all(one.isprintable() or category(one) == "Cn" for one in text)


def of_peer(text: str, length: int = MAX_MESSAGE) -> str:
    """What is taken of a text that a peer gave: one line of printable characters, cut to so many.

    :param length: characters, more than three.
    """
    return shortened(plain(shortened(text, length)), length)


def shortened(text: str, length: int = 60) -> str:
    """A text as messages quote it: cut to so many characters, of which the last three are dots.

    :param length: characters, more than three.
    """
    return text if len(text) <= length else text[: length - 3] + "..."


def shown_value(value: object, length: int = 60) -> str:
    """A value of any type as messages show it: its repr, on one line and cut.

    It does little work for a huge value, and never fails. Of a very large int only the number of its digits is shown.

    :param length: characters, more than three.
    """
    try:
        text = _REPR.repr(value)
    except Exception:  # noqa: BLE001  # whatever the value's own code raises
        text = f"<{type(value).__name__}>"
    return shortened(plain(text), length)


class _JsonEscapes(dict[int, int | str]):
    """Code point → what stands for it in a line of JSON; each is worked out once, when it is first wanted."""

    def __missing__(self, point: int) -> int | str:
        found = self[point] = point if chr(point).isprintable() else _json_escape(chr(point))
        return found


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class _BoundedRepr(reprlib.Repr):
    """A repr that looks at the beginning of a value alone."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxlong = self.maxother = 1000  # it is cut behind, not in the middle

    def repr1(self, x: object, level: int) -> str:
        if isinstance(x, int) and x.bit_length() > 400:
            return f"<{type(x).__name__} of about {x.bit_length() * 30103 // 100_000 + 1:,} digits>"
        if type(x) in (bytes, bytearray):
            return repr(x[: self.maxstring])  # type: ignore[index]  # one of these
        return super().repr1(x, level)


_REPR = _BoundedRepr()
