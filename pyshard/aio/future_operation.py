"""An operation of the asyncio client: its caller holds a future."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from pyshard.client_core.operation import Operation, shown
from pyshard.errors import OutcomeUnknown, PyshardError


def _new_future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


class FutureOperation(Operation, eq=False):
    """One verb on one key, and the future that its caller holds.

    :param convert: makes of the outcome what the caller is given; what it raises, the caller is given too.
    """

    future: asyncio.Future[Any] = msgspec.field(default_factory=_new_future)
    convert: Callable[[Any], object] | None = None

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
            return
        if self.convert is not None:
            try:
                outcome = self.convert(outcome)
            except Exception as error:  # noqa: BLE001  # as above: it is the caller's
                future.set_exception(error)
                return
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
