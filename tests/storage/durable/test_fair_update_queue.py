"""The order of updates that wait for the disk: whose come next, and what is kept of whom."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from pyshard.storage.durable.fair_update_queue import SMALL, UpdateQueue, WaitingUpdate
from pyshard.storage.interface import ITSELF, Sender

sender_of = cache(Sender)

SENDERS = [sender_of(address, connection) for address in "ab" for connection in "123"]


def taken(queue: UpdateQueue[str], most: int = 1000) -> list[str]:
    """What a queue gives."""
    found = [queue.take() for _ in range(min(most, len(queue)))]
    queue.done(found)
    return [waiting.update for waiting in found]


def add(queue: UpdateQueue[str], update: str, address: str, connection: str, weight: int) -> None:
    """Have an update wait."""
    queue.add(update, sender_of(address, connection), weight, 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(SENDERS), st.integers(0, 10**6), st.integers(0, 3), st.booleans(), st.integers(0, 3))
    )
)
def test_each_senders_own_order(steps: list[tuple[Sender, int, int, bool, int]]) -> None:
    """Each update comes once, those of a sender in order, also when others come before some are put back."""
    queue: UpdateQueue[int] = UpdateQueue()
    order: dict[Sender, list[int]] = {sender: [] for sender in SENDERS}
    out: list[WaitingUpdate[int]] = []
    for number, (sender, weight, take, settle, kind) in enumerate(steps):
        queue.add(number, sender, weight, 1, first=kind == 0)
        if not out:
            out = [queue.take(queue.first_small if kind == 1 else None) for _ in range(min(take, len(queue)))]
        if settle:
            done = (len(out) + 1) // 2
            for waiting in out[:done]:
                order[waiting.sender].append(waiting.update)
            queue.put_back(out[done:])
            queue.done(out[:done])
            out = []
    queue.put_back(out)
    while queue:
        first = queue.first
        assert first is not None
        assert queue.take() is first
        order[first.sender].append(first.update)
        queue.done([first])
    assert {number for numbers in order.values() for number in numbers} == set(range(len(steps)))
    for sender, numbers in order.items():
        assert numbers == [number for number, step in enumerate(steps) if step[0] == sender]
    assert vars(queue)["_flows"] == {}
    assert not vars(queue)["_of_address"]
    assert vars(queue)["_level"] == 0


def test_what_is_put_back_has_its_place() -> None:
    """What was taken after a long time of work, and put back, comes before what others send later."""
    queue: UpdateQueue[str] = UpdateQueue()
    for _ in range(100):
        add(queue, "bulk", "a", "1", 1 << 20)
    for _ in range(99):
        queue.done([queue.take()])
    add(queue, "put back", "b", "1", 1500)
    out = [queue.take() for _ in range(len(queue))]
    add(queue, "next of the same", "b", "1", 1500)
    queue.put_back([waiting for waiting in out if waiting.update == "put back"])
    queue.done([waiting for waiting in out if waiting.update != "put back"])
    for number in range(3):
        add(queue, "later", "c", str(number), 1500)
    order = taken(queue)
    assert order[0] == "put back"
    assert "next of the same" in order[1:]


def test_one_sender_is_first_come_first_served() -> None:
    """What waits of a single sender has no other order, whatever it weighs."""
    queue: UpdateQueue[str] = UpdateQueue()
    for name, weight in [("large", 10**6), ("none", 0), ("small", 10)]:
        add(queue, name, "a", "1", weight)
    assert taken(queue) == ["large", "none", "small"]


def test_a_small_update_passes_a_queue() -> None:
    """Who asks for little comes next, however much waits of others, and whether it came from their address or not."""
    for address in ("a", "b"):
        queue: UpdateQueue[str] = UpdateQueue()
        for connection in range(40):
            for _ in range(5):
                add(queue, "large", "a", str(connection), 10**6)
        assert taken(queue, 10) == ["large"] * 10
        add(queue, "small", address, "other", 2000)
        assert "small" in taken(queue, 2)


def test_many_connections_get_no_more() -> None:
    """Of two addresses that always wait each gets half, though one has twenty connections."""
    queue: UpdateQueue[str] = UpdateQueue()

    def add_one(sender: Sender) -> None:
        queue.add(sender.address, sender, 1000, 1)

    for connection in range(20):
        add_one(Sender("many", str(connection)))
    add_one(Sender("one", "1"))
    counts = {"many": 0, "one": 0}
    for turn in range(1000):
        waiting = queue.take()
        queue.done([waiting])
        counts[waiting.update] += turn >= 100
        add_one(waiting.sender)
    assert 0.9 < counts["many"] / counts["one"] < 1.1


def test_nobody_saves_up() -> None:
    """Who comes after a long time has no more than one update ahead of those that always wait."""
    queue: UpdateQueue[str] = UpdateQueue()
    add(queue, "steady", "a", "1", 1000)
    for _ in range(1000):
        add(queue, "steady", "a", "1", 1000)
        queue.done([queue.take()])
    for _ in range(100):
        add(queue, "late", "b", "1", 1000)
        add(queue, "steady", "a", "1", 1000)
    first = taken(queue, 50)
    assert 20 <= first.count("late") <= 30


def test_what_has_no_weight_costs_something() -> None:
    """Updates of the store itself don't shut out all others, though they have no weight."""
    queue: UpdateQueue[str] = UpdateQueue()
    for _ in range(100):
        queue.add("own", ITSELF, 0, 0)
    add(queue, "small", "a", "1", 2000)
    assert taken(queue, 5).count("small") == 1


@given(st.lists(st.tuples(st.sampled_from(SENDERS), st.integers(0, 10**6))), st.sets(st.sampled_from(SENDERS)))
def test_all_of_some_senders(added: list[tuple[Sender, int]], which: set[Sender]) -> None:
    """They are taken in order and for good; those of others wait on, in their order, and nothing else is kept."""
    queues: list[UpdateQueue[int]] = [UpdateQueue(), UpdateQueue()]
    for queue in queues:
        for number, (sender, cost) in enumerate(added):
            queue.add(number, sender, cost, 1)
    every = [queues[1].take() for _ in added]
    assert queues[0].take_all_of(which.__contains__) == [one for one in every if one.sender in which]
    assert [queues[0].take() for _ in range(len(queues[0]))] == [one for one in every if one.sender not in which]
    assert set(vars(queues[0])["_flows"]) == {sender for sender, _ in added} - which


def test_what_comes_first() -> None:
    """It is taken before all that others have waiting, also before what is put back; and costs nobody their places."""
    queue: UpdateQueue[str] = UpdateQueue()
    for number in range(3):
        add(queue, f"a{number}", "a", "1", 10_000)
        add(queue, f"b{number}", "b", "1", 10_000)
    out = [queue.take(), queue.take()]
    assert [waiting.update for waiting in out] == ["a0", "b0"]
    queue.put_back(out)
    queue.add("own", ITSELF, 5_000_000, 1, first=True)
    queue.add("own again", ITSELF, 0, 1, first=True)
    out = [queue.take()]
    assert out[0].update == "own"
    queue.put_back(out)
    add(queue, "later", "c", "1", 2000)
    assert taken(queue) == ["own", "own again", "a0", "b0", "later", "a1", "b1", "a2", "b2"]


def test_what_comes_first_behind_its_senders_own() -> None:
    """A sender's order stays as it is, whatever comes first."""
    queue: UpdateQueue[str] = UpdateQueue()
    queue.add("large", ITSELF, 5_000_000, 1)
    queue.add("small", ITSELF, 0, 1, first=True)
    add(queue, "other", "a", "1", 2000)
    assert taken(queue) == ["other", "large", "small"]


def first_small(queue: UpdateQueue[str]) -> str | None:
    """The small update that may be taken before large ones."""
    first = queue.first_small
    return None if first is None else first.update


def test_small_ones_while_large_ones_wait() -> None:
    """A small update may be taken before large ones, but never before a large one of its own sender."""
    queue: UpdateQueue[str] = UpdateQueue()
    add(queue, "large", "a", "1", SMALL + 1)
    add(queue, "behind it", "a", "1", 10)
    assert first_small(queue) is None
    add(queue, "other", "b", "1", 2 * SMALL)
    add(queue, "small", "c", "1", SMALL)
    assert queue.take().update == "small"
    add(queue, "later", "c", "2", SMALL)
    assert queue.take(queue.first_small).update == "later"
    out = [queue.take(), queue.take()]
    assert [waiting.update for waiting in out] == ["large", "behind it"]
    add(queue, "last", "a", "1", 10)  # while these are out, and may be put back
    assert first_small(queue) is None
    queue.put_back(out)
    assert first_small(queue) is None
    assert taken(queue, 2) == ["large", "behind it"]
    add(queue, "new", "a", "2", 10)
    assert first_small(queue) == "new"


def test_behind_a_large_one_that_is_done() -> None:
    """A sender's small updates may go before others' large ones again when its own large one is done."""
    queue: UpdateQueue[str] = UpdateQueue()
    add(queue, "small", "a", "1", 10)
    add(queue, "large", "a", "1", SMALL + 1)
    out = [queue.take(), queue.take()]
    queue.done(out[1:])
    add(queue, "new", "a", "1", 10)
    assert first_small(queue) == "new"
