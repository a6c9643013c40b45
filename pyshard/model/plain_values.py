"""Values of subclasses → the plain values that they are equal to, which are what is stored. Pure.

Most programs have such values without thinking of it: an OrderedDict, a namedtuple, a member of a StrEnum, a
numpy.float64.

Rules:

- what counts is what a value is made of: a method that a subclass overrides, such as ``__str__`` or ``items``, isn't
  asked;
- a subclass is known by its type alone, so a proxy that says it were a dict is none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_WHOLE = slice(None)

#: Base → what makes a plain value of one of a subclass. An OrderedDict's order is its own; a dict's doesn't have it.
_PLAIN: dict[type, Callable[[Any], object]] = {
    bool: lambda value: value,
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, _WHOLE),
    list: list.copy,
    tuple: lambda value: tuple.__getitem__(value, _WHOLE),
    OrderedDict: lambda value: dict(OrderedDict.items(value)),
    dict: lambda value: dict(dict.items(value)),
}


def plain_value(value: object) -> object:
    """The plain value that a value is equal to. What it holds stays as it is.

    :return: a bool, str, int, float, bytes, list, tuple or dict of that very type; None when it is none of them, and of
        none of their subclasses.
    """
    for base in type(value).__mro__:
        if base in _PLAIN:
            return _PLAIN[base](value)
    return None


def plain_key(key: object) -> str | None:
    """The plain str of a dict's key; None: it is no str."""
    if type(key) is str:
        return key
    return str.__str__(key) if issubclass(type(key), str) else None
