"""Who is served next: whoever has used least, by connection and by address, with numbers for the time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.server.fair_queue import FairGroups, FairQueue

CREDIT = 2.0


def served(queue: FairQueue[str], slices: int, cost: dict[str, float]) -> str:
    """Who is served, one after another, when everybody who was waits again."""
    found = ""
    for _ in range(slices):
        key = str(queue.take())
        found += key
        queue.charge(key, cost[key])
        queue.add(key)
    return found


def test_in_order_of_their_coming() -> None:
    """Of those that have used nothing the first that came is first; each comes once."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "abac":
        queue.add(key)
    assert len(queue) == 3
    assert [queue.take() for _ in range(4)] == ["a", "b", "c", None]


def test_in_turn() -> None:
    """Those that use as much are served in turn; one whose boxes cost twice as much, half as often."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "abc":
        queue.add(key)
    assert served(queue, 9, {"a": 1, "b": 1, "c": 1}) == "abcabcabc"
    assert Counter(served(queue, 100, {"a": 1, "b": 1, "c": 2})) == {"a": 40, "b": 40, "c": 20}


def test_who_asks_little_comes_first() -> None:
    """Whoever has used nothing for a while is next, however many have waited for longer."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "abcdefgh":
        queue.add(key)
    served(queue, 80, dict.fromkeys("abcdefgh", 1.0))
    for _ in range(20):
        queue.add("x")
        assert queue.take() == "x"
        queue.charge("x", 0.01)
        served(queue, 1, dict.fromkeys("abcdefgh", 1.0))


def test_nobody_saves_up() -> None:
    """Who comes after a long silence is ahead by the credit, and then one among the others."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "ab":
        queue.add(key)
    served(queue, 1000, {"a": 1, "b": 1})
    queue.add("x")
    first = served(queue, 30, {"a": 1, "b": 1, "x": 1})
    assert first.startswith("xx")
    assert Counter(first)["x"] <= 10 + CREDIT + 1


def test_what_is_used_while_waiting_counts() -> None:
    """A key that is charged while it waits falls behind."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "ab":
        queue.add(key)
    queue.charge("a", 1)
    assert [queue.take() for _ in range(3)] == ["b", "a", None]


def test_an_empty_queue_forgets() -> None:
    """When nobody waits any more all are equal: what was used in a quiet hour is held against nobody."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    queue.charge("a", 3600)
    queue.add("a")
    assert queue.take() == "a"
    for key in "ab":
        queue.add(key)
    assert queue.take() == "a"


def test_who_leaves_is_not_served() -> None:
    """One that leaves keeps what it has used; one that is removed is as good as new."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "abc":
        queue.add(key)
    queue.charge("a", 5)
    queue.charge("b", 5)
    queue.leave("a")
    queue.remove("b")
    assert len(queue) == 1
    for key in "ab":
        queue.add(key)
    assert [queue.take() for _ in range(4)] == ["c", "b", "a", None]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["add", "take", "charge", "leave", "remove"]))))
def test_like_a_list(moves: list[tuple[str, str]]) -> None:
    """Whatever happens, those wait that were added and not taken since, and `take` gives one of them."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    waiting: set[str] = set()
    for key, move in moves:
        if move == "take":
            taken = queue.take()
            assert (taken in waiting) if waiting else (taken is None)
            waiting.discard(str(taken))
        elif move == "charge":
            queue.charge(key, 1)
        else:
            getattr(queue, move)(key)
            waiting = waiting | {key} if move == "add" else waiting - {key}
        assert len(queue) == len(waiting)


def test_notes_are_bounded() -> None:
    """Who came once and never again leaves nothing behind, be it while others always wait."""
    queue: FairQueue[str] = FairQueue(CREDIT)
    for key in "ab":
        queue.add(key)
    for number in range(10_000):
        queue.charge(f"once{number}", 1.0)
        served(queue, 1, {"a": 1, "b": 1})
    assert len(queue._used) < 2000
    assert len(queue._entries) < 100


def test_notes_are_seldom_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that all have to be remembered don't have all notes looked through for each of them."""
    looks: list[int] = []
    forget = FairQueue._forget_some

    def look(queue: FairQueue[str]) -> None:
        looks.append(len(queue._used))
        forget(queue)

    monkeypatch.setattr(FairQueue, "_forget_some", look)
    queue: FairQueue[str] = FairQueue(CREDIT)
    queue.add("waits")
    for number in range(20_000):
        queue.charge(f"came{number}", 1.0)
    assert sum(looks) < 60_000


# -- addresses ------------------------------------------------------------------------------------------------------


def test_an_address_gets_one_share() -> None:
    """Forty connections from one address get together what one from another gets."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    members = {f"many{number}": "192.0.2.1" for number in range(40)} | {"one": "192.0.2.2"}
    for member, group in members.items():
        groups.add(member, group)
    count: Counter[str] = Counter()
    for _ in range(400):
        member = str(groups.take())
        count[member] += 1
        groups.charge(member, members[member], 1.0)
        groups.add(member, members[member])
    assert count["one"] == 200
    assert {count[member] for member in members if member != "one"} == {5}


def test_within_an_address() -> None:
    """Of one address, too, whoever has used least comes first."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    for member in ("a", "b"):
        groups.add(member, "here")
    for _ in range(20):
        busy = str(groups.take())
        groups.charge(busy, "here", 1.0)
        groups.add(busy, "here")
    groups.add("x", "here")
    assert groups.take() == "x"


def test_leaving_is_no_way_to_the_front() -> None:
    """An address whose connections end and come anew keeps what it has used."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    groups.add("honest", "there")
    for number in range(5):
        groups.add(f"redialing{number}", "here")
        groups.charge(f"redialing{number}", "here", 10.0)
        groups.remove(f"redialing{number}", "here")
    groups.add("redialing", "here")
    assert [groups.take(), groups.take(), groups.take()] == ["honest", "redialing", None]
    assert not groups


def test_the_only_one_that_waits_is_charged() -> None:
    """One that was served alone has used something: whoever comes from its address comes before it."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    groups.add("busy", "here")
    assert groups.take() == "busy"
    groups.charge("busy", "here", 1.0)
    groups.add("busy", "here")
    groups.add("x", "here")
    assert [groups.take() for _ in range(3)] == ["x", "busy", None]


def test_addresses_are_forgotten() -> None:
    """Addresses that came once leave nothing behind, be it while others always wait."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    for number in range(10_000):
        groups.add("waits", "there")
        groups.add("once", f"address{number}")
        for _ in range(2):
            taken = str(groups.take())
            groups.charge(taken, "there" if taken == "waits" else f"address{number}", 1.0)
    assert len(groups._members) < 2000


def test_members_that_are_gone() -> None:
    """Nothing is left of connections that have ended, and nobody is given who has gone."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    for member in ("a", "b"):
        groups.add(member, "here")
    groups.remove("a", "here")
    groups.remove("unknown", "nowhere")
    assert groups
    assert [groups.take(), groups.take()] == ["b", None]
    groups.remove("b", "here")
    assert groups._members == {}


def test_who_may_not_be_served_keeps_its_place() -> None:
    """Those that mayn't be served now are passed over, pay nothing for that, and come first when they may."""
    groups: FairGroups[str, str] = FairGroups(CREDIT)
    for member, group in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c")):
        groups.add(member, group)
    assert groups.take(lambda group: group != "a") == "b1"
    assert groups.take(lambda group: group == "b") is None
    assert set(groups.waiting_groups()) == {"a", "c"}
    groups.charge("c1", "c", CREDIT / 2)
    assert [groups.take() for _ in range(4)] == ["a1", "a2", "c1", None]
