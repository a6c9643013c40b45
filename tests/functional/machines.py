"""Where a process of the functional tests runs: on this machine, or on one that a test has made for it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen
class Machine:
    """A place for processes.

    :param host: the address at which others reach it.
    :param within: the words behind which a command stands to be run there.
    """

    host: str = "127.0.0.1"
    within: Sequence[str] = ()

    @property
    def is_here(self) -> bool:
        """Whether it is this machine itself."""
        return not self.within


HERE = Machine()
