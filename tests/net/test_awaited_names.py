"""The names that a client on a reactor or loop waits for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net.held_questions import HeldQuestions, address

from pyshard.net.awaited_names import AwaitedNames
from pyshard.net.name_questions import FoundAddress


class Client:
    """One that waits for names; what is called in its thread is called when the test says so.

    :ivar told: each name that it was told of, and what.
    """

    def __init__(self, held: HeldQuestions) -> None:
        self.calls: list[Callable[[], None]] = []
        self.names = AwaitedNames(self.calls.append, held.questions)
        self.told: list[tuple[str, list[FoundAddress] | str]] = []

    def look_up(self, host: str, port: int = 80) -> Callable[[], None]:
        """Look up a name; gives what gives it up."""
        return self.names.look_up(
            host, port, lambda found: self.told.append((host, str(found) if isinstance(found, OSError) else found))
        )

    def run(self) -> None:
        """Call what is to be called."""
        calls, self.calls[:] = [*self.calls], []
        for call in calls:
            call()


FOUND = [address("10.0.0.1", 80), address("10.0.0.2", 80)]


def test_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in the client's thread, once."""
    held = HeldQuestions(monkeypatch)
    client = Client(held)
    client.look_up("db.test")
    client.look_up("none.test")
    assert (held.under_way, client.told) == (["db.test", "none.test"], [])
    held.answer("db.test")
    assert client.told == []
    client.run()
    held.answer("none.test")
    client.run()
    error = "[Errno 113] 'none.test' has no address (Name or service not known)"
    assert client.told == [("db.test", FOUND), ("none.test", error)]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_known_at_once(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """What needs no server is told before the call ends, also when no question could begin."""
    held = HeldQuestions(monkeypatch, 0)
    client = Client(held)
    client.look_up(host)()
    assert client.told == [(host, FOUND)]


def test_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names without room begin in their order, each when a place is free; those given up are never asked for."""
    held = HeldQuestions(monkeypatch, 4)
    client = Client(held)
    give_up = [client.look_up(f"{number}.test") for number in range(6)]
    assert held.under_way == ["0.test", "1.test"]
    give_up[2]()
    give_up[0]()  # its question goes on; nobody hears of its answer
    held.answer("0.test")
    client.run()
    assert (held.under_way, client.told) == (["1.test", "3.test"], [])
    held.answer("1.test")
    held.answer("3.test")
    client.run()
    assert held.under_way == ["4.test", "5.test"]
    assert [host for host, _ in client.told] == ["1.test", "3.test"]


def test_another_client_beside_slow_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client's many names keep out none of another's; and what frees a place for both is told to both."""
    held = HeldQuestions(monkeypatch, 4)
    greedy, other = Client(held), Client(held)
    for number in range(10):
        greedy.look_up(f"{number}.test")
    other.look_up("db.test")
    other.look_up("further.test")
    assert held.under_way == ["0.test", "1.test", "db.test"]
    held.answer("1.test")
    assert (len(greedy.calls), len(other.calls)) == (1, 1)
    other.run()
    assert held.under_way == ["0.test", "db.test", "further.test"]


def test_a_name_that_both_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for once, though the one for whom it began has given it up."""
    held = HeldQuestions(monkeypatch)
    first, second = Client(held), Client(held)
    give_up = first.look_up("db.test")
    second.look_up("db.test")
    second.look_up("db.test", 81)
    give_up()
    held.answer("db.test")
    second.run()
    assert held.asked == [("db.test", 0)]
    assert first.told == []
    assert second.told == [("db.test", FOUND), ("db.test", [address("10.0.0.1", 81), address("10.0.0.2", 81)])]


def test_who_waits_for_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has its answers, or gave up, hears of no further question, and isn't kept."""
    held = HeldQuestions(monkeypatch)
    answered, gone = Client(held), Client(held)
    answered.look_up("db.test")
    gone.look_up("other.test")()
    held.answer("db.test")
    answered.run()
    held.answer("other.test")
    assert (answered.calls, gone.calls, held.questions._listeners) == ([], [], {})


def test_one_that_is_told_gives_up_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of what was given up in the same turn."""
    held = HeldQuestions(monkeypatch)
    client = Client(held)
    client.names.look_up("a.test", 80, lambda _: give_up())
    give_up = client.look_up("b.test")
    for name in ("a.test", "b.test"):
        held.answer(name)
    client.run()
    assert client.told == []
