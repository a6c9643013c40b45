"""The type of a function that waits for Deferreds one after the other."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred

_T = TypeVar("_T")

#: What the body of a function with ``@inlineCallbacks`` is; to callers the function returns a ``Deferred[_T]``.
Steps: TypeAlias = Generator[Deferred[Any], Any, _T]
