"""Calls of a client's parts to what owns them, which don't keep it alive.

A client that its program forgets is gone at once, with its connections, if nothing in it leads back to itself. Else
these stay open until Python's collector of cycles comes by.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def weakly(method: Callable[_P, _R], otherwise: Callable[[], _R]) -> Callable[_P, _R]:
    """A function that calls a method, and doesn't keep its object alive.

    :param method: a bound one.
    :param otherwise: gives what is returned when the object is gone.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: _P.args, **named: _P.kwargs) -> _R:
        found = reference()
        return otherwise() if found is None else found(*arguments, **named)

    return call
