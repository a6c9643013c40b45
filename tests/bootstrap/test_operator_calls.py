"""So many changes of operators are under way, however many are asked for."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pyshard.bootstrap.operator_calls import OperatorCalls
from pyshard.errors import Overloaded
from pyshard.settings import settings


def test_so_many_at_a_time() -> None:
    """One address has half of what others leave free; whoever comes then is let in; and all is as before at the end."""
    calls, half = OperatorCalls(), settings.MAX_OPERATOR_CALLS // 2
    for _ in range(2):
        with ExitStack() as under_way:
            for _ in range(half):
                under_way.enter_context(calls.one_of("a"))
            with pytest.raises(Overloaded, match=f"{half} such changes from this address are under way"):
                under_way.enter_context(calls.one_of("a"))
            for _ in range(half // 2):
                under_way.enter_context(calls.one_of("b"))
            with pytest.raises(Overloaded):
                under_way.enter_context(calls.one_of("b"))
            under_way.enter_context(calls.one_of("c"))
    assert not calls._of


def test_one_that_fails_gives_its_place_back() -> None:
    """Whatever it fails with."""
    calls = OperatorCalls()
    for _ in range(2 * settings.MAX_OPERATOR_CALLS):
        with pytest.raises(ZeroDivisionError), calls.one_of("a"):
            raise ZeroDivisionError
