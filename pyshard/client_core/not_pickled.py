"""Clients that can't be pickled or copied, since they are connected, and belong to what does their work.

Rule: it is one `TypeError`, the exception that pickle and copy stand for, and it says what to pickle instead.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn, SupportsIndex


class NotPickled:
    """A client that belongs to its reactor or event loop."""

    #: What a client belongs to, and what to pickle in its place.
    _belongs_to: ClassVar[str]
    _pickle_instead: ClassVar[str]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} can't be pickled or copied: it is connected, and belongs to {self._belongs_to}; "
            f"pickle {self._pickle_instead}, and connect with that"
        )
