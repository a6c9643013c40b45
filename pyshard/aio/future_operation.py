"""An operation of the asyncio client: its caller holds a future."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from pyshard.client_core.operation import Operation, shown
from pyshard.errors import OutcomeUnknown, PyshardError


def _new_future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


class FutureOperation(Operation, eq=False):
    """One verb on one key, and the future that its caller holds."""

    future: asyncio.Future[Any] = msgspec.field(default_factory=_new_future)

    @property
    def withdrawn(self) -> bool:
        """See `Operation`."""
        return self.future.cancelled()

    def tell(self, outcome: object) -> None:
        """See `Operation`. A future that was cancelled is told nothing."""
        future = self.future
        if future.done():
            return
        if isinstance(outcome, PyshardError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class ChangeFuture(asyncio.Future[Any]):
    """The future of a change. Who cancels it is told, as the cause of the `CancelledError`, that it may have happened.

    :ivar verb: what it does, to `key`.
    """

    __slots__ = ("key", "verb")

    verb: str
    key: bytes

    def result(self) -> Any:
        """See `asyncio.Future`."""
        try:
            return super().result()
        except asyncio.CancelledError as error:
            change = f"{self.verb} of key {shown(self.key)}"
            raise error from OutcomeUnknown(f"{change} was cancelled: it may or may not have happened")
