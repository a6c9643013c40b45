"""The types of commands' arguments: what each is as a value, and as the bytes of a box. Pure.

Rules:

- a value has one form on the wire: a number is its decimal digits alone, without sign, space or leading zero;
- what breaks a rule is a `BadRequest` in one printable line: the argument's name, what was found, what was expected;
- AMP's own types take more than that (``int(" +3_0")``), and say what is wrong in the words of Python's functions.

Bytes of any length have a type of their own, in `pyshard.protocol.chunked_arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Generic, TypeVar

from pyshard.errors import BadRequest, plain, shortened

_T = TypeVar("_T")

#: The largest number that an argument can be. Epochs, sizes and counts are below it.
LARGEST = 2**63 - 1

_DIGITS = len(str(LARGEST))
_ZERO = b"0"[0]
_SMALL: dict[bytes | None, int] = {b"%d" % number: number for number in range(1000)}  # as most epochs are
_SHOWN = 50  # characters of a value that a message quotes


class WireArgument(Generic[_T]):
    """Base of the types.

    :param optional: whether it may be missing: it is None then.
    """

    def __init__(self, optional: bool = False) -> None:
        self.optional = optional

    def take(self, box: Mapping[bytes, bytes], name: bytes) -> _T | None:
        """The argument of a name, out of a box.

        :raises BadRequest: as `read`.
        """
        value = box.get(name)
        return None if self.optional and value is None else self.read(name, value)

    def put(self, box: MutableMapping[bytes, bytes], name: bytes, value: _T | None) -> None:
        """Put the argument of a name into a box.

        :raises KeyError: it is None, and not optional.
        """
        if value is not None:
            box[name] = self.written(value)
        elif not self.optional:
            raise KeyError(name)

    def read(self, name: bytes, value: bytes | None) -> _T:
        """The argument out of its bytes.

        :param name: of the argument, for the message.
        :param value: None: it isn't there.
        :raises BadRequest: it is missing, or breaks a rule.
        """
        raise NotImplementedError

    def written(self, value: _T) -> bytes:
        """The argument as bytes."""
        raise NotImplementedError


class Integer(WireArgument[int]):
    """A whole number.

    :param least: the least that it can be, 0 or more.
    :param most: the most that it can be.
    """

    def __init__(self, least: int = 0, most: int = LARGEST, optional: bool = False) -> None:
        super().__init__(optional)
        self._least = least
        self._most = most

    def read(self, name: bytes, value: bytes | None) -> int:
        return _integer(name, value, self._least, self._most)

    def written(self, value: int) -> bytes:
        return b"%d" % value


class Boolean(WireArgument[bool]):
    """``True`` or ``False``."""

    def read(self, name: bytes, value: bytes | None) -> bool:
        if value not in (b"True", b"False"):
            raise unfit(name, shown_bytes(value), "True or False")
        return value == b"True"

    def written(self, value: bool) -> bytes:
        return b"True" if value else b"False"


class Text(WireArgument[str]):
    """A text, in UTF-8.

    :param most: characters that it has at the most.
    """

    def __init__(self, most: int = 65_535, optional: bool = False) -> None:
        super().__init__(optional)
        self._most = most

    def read(self, name: bytes, value: bytes | None) -> str:
        if value is None:
            raise unfit(name, shown_bytes(value), "a text in UTF-8")
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise unfit(name, f"bytes that are not UTF-8, at byte {error.start}", "a text in UTF-8") from None
        if len(text) > self._most:
            raise unfit(name, f"{len(text):,} characters", f"at most {self._most:,}")
        return text

    def written(self, value: str) -> bytes:
        return value.encode()


class Bytes(WireArgument[bytes]):
    """Bytes as they are; not more than a value of AMP has.

    :param least: how many there are at the least.
    :param most: how many there are at the most.
    """

    def __init__(self, least: int = 0, most: int = 65_535, optional: bool = False) -> None:
        super().__init__(optional)
        self._least = least
        self._most = most

    def read(self, name: bytes, value: bytes | None) -> bytes:
        if value is None or not self._least <= len(value) <= self._most:
            found = "nothing" if value is None else f"{len(value):,} bytes"
            raise unfit(name, found, f"{self._least:,} to {self._most:,} bytes")
        return value

    def written(self, value: bytes) -> bytes:
        return value


def take_integer(box: Mapping[bytes, bytes], name: bytes) -> int:
    """A whole number out of a box, as `Integer` reads it.

    :raises BadRequest: it is missing, or no number.
    """
    value = box.get(name)
    return _SMALL[value] if value in _SMALL else _integer(name, value, 0, LARGEST)


def unfit(name: bytes, found: str, expected: str) -> BadRequest:
    """The error for an argument that breaks a rule."""
    return BadRequest(f"{name.decode('ascii', 'backslashreplace')}: found {found}, expected {expected}")


def is_number(value: bytes) -> bool:
    """Whether bytes are a whole number in the one form that it has, and have no more digits than `LARGEST`."""
    return value.isdigit() and len(value) <= _DIGITS and (value[0] != _ZERO or len(value) == 1)


def _integer(name: bytes, value: bytes | None, least: int, most: int) -> int:
    if value is not None and is_number(value):
        number = int(value)
        if least <= number <= most:
            return number
    raise unfit(name, shown_bytes(value), f"a whole number from {least} to {most}, in decimal digits alone")


def shown_bytes(value: bytes | None) -> str:
    """What was found as an argument, as messages show it: in quotes, on one line and cut; None: nothing."""
    if value is None:
        return "nothing"
    return f'"{shortened(plain(value[: 4 * _SHOWN].decode("utf-8", "backslashreplace")), _SHOWN)}"'
