"""How much work something is, counted and not timed: the same on every machine.

The work is the number of bytecodes of Python that run. What C does in one bytecode, such as a sum over a list, is seen
where it calls what these classes define: a length, a hash, a comparison.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_TOOL = 4  # a number of `sys.monitoring` that neither debuggers, coverage nor profilers use


class Seen(bytes):
    """Bytes that are work to look at, each time that somebody asks for their length, compares or hashes them."""

    def __len__(self) -> int:
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


class Name(str):
    """A text that is work to look at, as `Seen`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


if sys.version_info >= (3, 12):  # there a trace function is told of the bytecodes of some calls alone

    def steps(work: Callable[[], object]) -> int:
        """How many bytecodes run until it returns."""
        count, instruction = 0, sys.monitoring.events.INSTRUCTION

        def seen(*_: object) -> None:
            nonlocal count
            count += 1

        sys.monitoring.use_tool_id(_TOOL, __name__)
        sys.monitoring.register_callback(_TOOL, instruction, seen)
        sys.monitoring.set_events(_TOOL, instruction)
        try:
            work()
        finally:
            sys.monitoring.set_events(_TOOL, 0)
            sys.monitoring.free_tool_id(_TOOL)
        return count

else:

    def steps(work: Callable[[], object]) -> int:
        """How many bytecodes run until it returns."""
        count = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:  # itself
            nonlocal count
            if event == "call":
                frame.f_trace_opcodes, frame.f_trace_lines = True, False
            elif event == "opcode":
                count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            work()
        finally:
            sys.settrace(before)
        return count


def growth(work: Callable[[int], Callable[[], object]], small: int) -> float:
    """How many times the work grows with four times the length: 4 where it is linear, 16 where it is quadratic.

    :param work: prepares work of a length; only what it gives back is counted.
    :param small: the smaller length: enough that what each length needs doesn't matter.
    """
    work(small)()  # what is found out once
    return steps(work(4 * small)) / steps(work(small))


def assert_equal(found: object, expected: object) -> None:
    """As the statement, in a lambda."""
    assert found == expected
