"""Several steps that one thread runs at once: their order, and that many of them cost what they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import pytest
from work import growth

from pyshard.blocking.calling_thread_tasks import Interest, Network, PlainSocket, Steps, Wanted, together
from pyshard.errors import Unavailable


class Waits:
    """A network in which each wait takes until its time, or until its socket is ready, which is at once."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        """See `Network`."""
        return self.time

    def run(self, steps: Steps[Sequence[object]]) -> Sequence[object]:
        """Run steps to their end."""
        ready: list[PlainSocket] | None = None
        try:
            while True:
                interest = steps.send(ready)  # type: ignore[arg-type]  # how a generator is begun
                ready = [socket for socket, _ in interest.wanted[:1]]
                if not ready:
                    self.time = max(self.time, interest.until)
        except StopIteration as ended:
            return cast("Sequence[object]", ended.value)


def asked(order: list[int], number: int, fails: bool, until: float = 100.0) -> Steps[int]:
    """Steps that wait for a socket, and then fail, or don't."""
    order.append(number)
    wanted: list[Wanted] = [(cast(PlainSocket, object()), False)]
    yield from Interest(wanted, until)
    if fails:
        raise Unavailable("refused")
    return number


def test_one_after_the_other() -> None:
    """With a stagger the next one begins when all before it have failed; none does behind one that is enough."""
    network, order = Waits(), list[int]()
    steps = [asked(order, number, number != 2) for number in range(5)]
    found = network.run(together(cast(Network, network), steps, 10.0, one_is_enough=True))
    assert order == [0, 1, 2]
    assert [type(one) for one in found] == [Unavailable, Unavailable, int]
    assert network.time == 0


def test_all_of_them() -> None:
    """Without one that is enough each has its outcome, in their order."""
    network, order = Waits(), list[int]()
    steps = [asked(order, number, number % 2 == 1) for number in range(6)]
    found = network.run(together(cast(Network, network), steps))
    assert order == [0, 1, 2, 3, 4, 5]
    assert [one if isinstance(one, int) else None for one in found] == [0, None, 2, None, 4, None]


def test_steps_that_have_others_begun() -> None:
    """What one adds goes on with those that are there, while another one waits; all have their outcomes."""
    network, order, added = Waits(), list[int](), deque[Steps[object]]()

    def adds(number: int) -> Steps[object]:
        yield from asked(order, number, fails=False)
        if number < 3:
            added.append(adds(number + 1))
        return number

    def late() -> Steps[object]:
        yield from Interest((), 50.0)
        order.append(9)
        return 9

    assert network.run(together(cast(Network, network), [late(), adds(0)], added=added)) == [9, 0, 1, 2, 3]
    assert order == [0, 1, 2, 3, 9]
    assert network.time == 50.0
    assert network.run(together(cast(Network, network), [adds(2)], added=added)) == [2, 3]


@pytest.mark.parametrize("stagger", [1.0, 0.0])
def test_thousands_of_times(stagger: float) -> None:
    """To wait for as many times costs a few looks at all, and one after the other costs nothing for those to come."""

    def wait(number: int) -> Steps[int]:
        yield from Interest([], 1 + number * 1e-6)
        return number

    def work(count: int) -> Callable[[], object]:
        network, order = Waits(), list[int]()
        if stagger:
            several: list[Steps[int]] = [asked(order, number, True) for number in range(count)]
        else:
            several = [wait(number) for number in range(count)]
        return lambda: network.run(together(cast(Network, network), several, stagger, one_is_enough=bool(stagger)))

    assert growth(work, 100) < 6
