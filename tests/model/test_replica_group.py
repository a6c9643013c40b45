"""Groups of replicas: what each change makes of them, and what is refused."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import pytest

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group

A, B, C = (MapReplica("h", port, StoreId(f"store {port}", "first")) for port in (1, 2, 3))
TRIO = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2"}), (A, B, C))


def test_new() -> None:
    """The first replica is alone at first, and the others are learners; one may be missing later."""
    group = new_group([A, B, C])
    assert (group.ballot, group.primary, group.members, group.learners) == (
        1,
        "h:1",
        frozenset({"h:1"}),
        ("h:2", "h:3"),
    )
    assert [new_group([A, B, C][:count]).least for count in (1, 2, 3)] == [1, 1, 2]
    assert new_group([A, B], 2).least == 2


@pytest.mark.parametrize(
    ("primary", "members", "replicas"),
    [("h:1", {"h:2"}, (A, B)), ("h:1", {"h:1", "h:9"}, (A, B)), ("h:1", {"h:1"}, (A, B, A))],
)
def test_impossible(primary: str, members: set[str], replicas: tuple[MapReplica, ...]) -> None:
    """A group whose parts don't fit can't be made."""
    with pytest.raises(ValueError, match="replicas: found"):
        ReplicaGroup(1, primary, frozenset(members), replicas)


def test_join_and_removal() -> None:
    """A learner joins, a member is removed; each time the ballot rises."""
    joined = TRIO.with_member("h:3")
    assert (joined.ballot, joined.members) == (6, frozenset({"h:1", "h:2", "h:3"}))
    removed = joined.without_member("h:2")
    assert (removed.ballot, removed.members, removed.learners) == (7, frozenset({"h:1", "h:3"}), ("h:2",))
    assert removed.without_member("h:2") == ReplicaGroup(8, "h:1", frozenset({"h:1", "h:3"}), (A, B, C))


@pytest.mark.parametrize("address", ["h:1", "h:2", "h:9"])
def test_no_join(address: str) -> None:
    """Nobody joins but a learner."""
    with pytest.raises(BadRequest, match=r"expected one of the learners \['h:3'\]"):
        TRIO.with_member(address)


def test_unseen_learner_does_not_join() -> None:
    """One whose store nobody has seen can't have a copy."""
    with pytest.raises(BadRequest, match="learners"):
        new_group([A, MapReplica("h", 2)]).with_member("h:2")


def test_the_primary_is_not_removed() -> None:
    """It is led by another one first."""
    with pytest.raises(BadRequest, match="switch to another member first"):
        TRIO.without_member("h:1")


def test_who_leads() -> None:
    """Another member leads after a primary that is gone, or beside one that stays."""
    assert (TRIO.led_by("h:2").primary, TRIO.led_by("h:2").members) == ("h:2", frozenset({"h:2"}))
    assert (TRIO.switched_to("h:2").primary, TRIO.switched_to("h:2").members) == ("h:2", frozenset({"h:1", "h:2"}))


@pytest.mark.parametrize("address", ["h:1", "h:3", "h:9"])
def test_who_never_leads(address: str) -> None:
    """A learner, or somebody else, hasn't all that was acknowledged."""
    for change in (TRIO.led_by, TRIO.switched_to):
        with pytest.raises(BadRequest, match="nobody else has all that was acknowledged"):
            change(address)


def test_another_store() -> None:
    """A member that comes with another store is a learner; one that lost what it had, too."""
    for store in (StoreId("other", "first"), StoreId("store 2", "second")):
        changed = TRIO.with_store("h:2", store, durable=True)
        assert (changed.ballot, changed.members) == (6, frozenset({"h:1"}))
        assert changed.holds("h:2", store)
    assert TRIO.with_store("h:2", StoreId("store 2", "first"), durable=False) is TRIO
    assert TRIO.with_store("h:9", StoreId("x", "y"), durable=False) is TRIO


def test_a_primary_with_another_store() -> None:
    """It can't lead: the group knows its old store, until another member leads. Alone it is what there is."""
    other = StoreId("other", "first")
    assert TRIO.with_store("h:1", other, durable=False) is TRIO
    led = TRIO.led_by("h:2").with_store("h:1", other, durable=False)
    assert led.holds("h:1", other)
    assert led.members == {"h:2"}
    alone = new_group([A]).with_store("h:1", other, durable=False)
    assert (alone.ballot, alone.members) == (2, frozenset({"h:1"}))
    assert alone.holds("h:1", other)


def test_an_incarnation_that_was_not_seen() -> None:
    """A shard that gets replicas knows the identity of its store alone; its incarnation is learned."""
    known = MapReplica("h", 1, StoreId("store 1", ""))
    group = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2"}), (known, B))
    learned = group.with_store("h:1", StoreId("store 1", "first"), durable=True)
    assert (learned.ballot, learned.members) == (6, group.members)
    assert learned.holds("h:1", StoreId("store 1", "first"))
    assert group.with_store("h:1", StoreId("other", "first"), durable=True) is group


def test_config() -> None:
    """Replicas come as learners, with what is known of the others; members don't go by a config."""
    d = MapReplica("h", 4)
    group = TRIO.with_replicas([MapReplica("h", 2), MapReplica("h", 1), d], 2, 3.0)
    assert (group.ballot, group.replicas, group.learners, group.least) == (6, (B, A, d), ("h:4",), 2)
    assert TRIO.with_replicas([A, B, C], 1, 3.0) is TRIO
    with pytest.raises(BadRequest, match="found 1 s, expected 3"):
        TRIO.with_replicas([A, B, C], 1, 1.0)
    with pytest.raises(BadRequest, match="pyshard replica remove"):
        TRIO.with_replicas([A, C], 1, 3.0)
    alone = new_group([A])
    assert alone.with_replicas([A, B], 1, 1.0).lease == 1.0, "nobody has promised anything to one alone"


def test_begun_anew() -> None:
    """By an operator's will one replica alone goes on, whatever it has."""
    assert (TRIO.begun_anew("h:3").primary, TRIO.begun_anew("h:3").members) == ("h:3", frozenset({"h:3"}))
    with pytest.raises(BadRequest, match="expected one of"):
        TRIO.begun_anew("h:9")


def test_a_leader_was_a_member() -> None:
    """Whatever changes come: who leads next was a member of the group before, and its store the same."""
    for seed in range(200):
        random_ = random.Random(seed)
        group = new_group([A, B, C])
        for _ in range(30):
            address = f"h:{random_.randrange(1, 5)}"
            store = StoreId(address, str(random_.randrange(2)))
            changes: list[Callable[[], ReplicaGroup]] = [
                functools.partial(group.with_member, address),
                functools.partial(group.without_member, address),
                functools.partial(group.led_by, address),
                functools.partial(group.switched_to, address),
                functools.partial(group.with_store, address, store, durable=True),
            ]
            try:
                after = random_.choice(changes)()
            except BadRequest:
                continue
            assert after.ballot == group.ballot + (after is not group)
            if after.primary != group.primary:
                assert after.primary in group.members
                assert after.at(after.primary) == group.at(after.primary)
            group = after
