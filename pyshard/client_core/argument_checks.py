"""What can stand as an argument of a verb, for every client. Pure.

Rules:

- what is wrong is found before anything is sent, and is one `InvalidArgument`: the argument's name, what was found,
  what was expected;
- a message stays short, whatever was given (`pyshard.errors.shown_value`);
- a bool is no number, though Python takes it for one; an int or float of a subclass is one;
- keys, documents and index names have checks of their own, beside what they are (`pyshard.model`).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from pyshard.errors import InvalidArgument, shown_value
from pyshard.protocol.batch_operations import ABSENT, ALWAYS, LONGEST_TTL

_LONGEST = LONGEST_TTL / 1000  # seconds of the longest time to live and of the longest deadline
_SECONDS = "a number of seconds, more than 0 and at most 100 years"


def deadline_seconds(deadline: float) -> float:
    """The seconds of a deadline that was given.

    :raises InvalidArgument: it is no positive number, or more than 100 years.
    """
    return _seconds("deadline", deadline)


def milliseconds(ttl: float | None) -> int:
    """A time to live as it crosses the wire, in milliseconds; 0: for ever.

    :param ttl: seconds; None: for ever.
    :raises InvalidArgument: it is no positive number, or more than 100 years.
    """
    return 0 if ttl is None else max(1, round(_seconds("ttl", ttl) * 1000))


def condition_of(if_absent: bool, if_version: int | None) -> int:
    """The condition that a verb's arguments ask for, as it crosses the wire.

    :param if_absent: the key must not exist.
    :param if_version: the key must have this version; None: any.
    :raises InvalidArgument: both are given, `if_absent` is no bool, or `if_version` is no version.
    """
    if not isinstance(if_absent, bool):
        raise InvalidArgument(f"if_absent: found {shown_value(if_absent)}, expected True or False")
    if if_version is None:
        return ABSENT if if_absent else ALWAYS
    if if_absent:
        raise InvalidArgument("if_absent and if_version: found both, expected one of them")
    if isinstance(if_version, bool) or not isinstance(if_version, int) or not 1 <= if_version < 2**63:
        raise InvalidArgument(f"if_version: found {shown_value(if_version)}, expected a version as item() gives it")
    return int(if_version)


def whole_number(name: str, value: int) -> int:
    """An int that was given, of any size.

    :param name: the argument's, for the message.
    :raises InvalidArgument: it is no int.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{name}: found {shown_value(value)}, expected an int")
    return int(value)


def check_progress(progress: object) -> None:
    """Refuse a ``progress`` that can't be called.

    :raises InvalidArgument: it is no function, and not None either.
    """
    if progress is not None and not callable(progress):
        raise InvalidArgument(
            f"progress: found {shown_value(progress)}, expected a function that takes the number of keys that are done"
        )


def check_collection(name: str, given: object, of_what: str) -> None:
    """Refuse what is no collection of keys or pairs: a text, which is one key, or what can't be iterated over.

    :param name: the argument's, for the message.
    :param of_what: what it is to be a collection of, for the message.
    :raises InvalidArgument: it is none.
    """
    if isinstance(given, str | bytes | bytearray | memoryview):
        raise InvalidArgument(f"{name}: found one {type(given).__name__}, expected a collection of {of_what}")
    if not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
        hint = "; collect it first: [one async for one in …]" if isinstance(given, AsyncIterable) else ""
        raise InvalidArgument(f"{name}: found {shown_value(given)}, expected a collection of {of_what}{hint}")


def _seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise InvalidArgument(f"{name}: found {shown_value(value)}, expected {_SECONDS}")
    return float(value)
