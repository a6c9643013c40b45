"""A sender that writes down what it is told, for tests of what tells it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pyshard.storage import Sender


@attrs.frozen(eq=False)
class ToldSender(Sender):
    """One of which all is known.

    :ivar counted: seconds and batches, each time.
    :ivar held: bytes more or fewer, each time.
    :ivar ends_of_rests: what is called when a rest is over, one for each rest.
    :param has_gone: whether it hears nothing any more.
    :param may_rest: whether it rests, when it is asked.
    """

    has_gone: Callable[[], bool] = lambda: False
    may_rest: Callable[[], bool] = lambda: False
    counted: list[tuple[float, float]] = attrs.field(factory=list)
    held: list[int] = attrs.field(factory=list)
    ends_of_rests: list[Callable[[], object]] = attrs.field(factory=list)

    def count(self, seconds: float, batches: float) -> None:
        self.counted.append((seconds, batches))

    def hold(self, size: int) -> None:
        self.held.append(size)

    def gone(self) -> bool:
        return self.has_gone()

    def rests(self, when_over: Callable[[], object]) -> bool:
        if not self.may_rest():
            return False
        self.ends_of_rests.append(when_over)
        return True
