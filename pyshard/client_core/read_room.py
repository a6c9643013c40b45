"""How many bytes of answers a bulk read may take, so that others' documents can't fill the memory of who reads. Pure.

Rule: once they are taken, nothing more is asked for. The keys that nobody was asked for are `UNREAD`, and no error.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Unread(Enum):
    """The type of `UNREAD`."""

    UNREAD = "there was no room for it"


#: The outcome of a key that wasn't read, as the room was used up.
UNREAD: Final = Unread.UNREAD


class ReadRoom:
    """The room of one bulk read. What is in flight when it is used up comes on top: some answers.

    :param size: bytes.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def full(self) -> bool:
        """Whether it is used up."""
        return self._left <= 0

    def take(self, size: int) -> None:
        """An answer with so many bytes has come."""
        self._left -= size
