"""What the web page shows of replicas, by value: who leads, who lacks what, and when a shard fails over."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
import pytest
from bootstrap.states import LOW, STATE

from pyshard.bootstrap.bootstrap import Condition, ShardReadiness
from pyshard.bootstrap.group_driver import HeardReport
from pyshard.bootstrap.status_page.shard_colors import colors_of
from pyshard.bootstrap.status_page.shard_figures import ShardFigures
from pyshard.bootstrap.status_page.shown_cluster import MOST_GROUPS, WatchedCluster, shown_cluster, watched_names
from pyshard.bootstrap.status_page.shown_problems import MOST_PROBLEMS
from pyshard.bootstrap.status_page.shown_replicas import HEARD_WITHIN, WatchedGroup
from pyshard.bootstrap.status_page.shown_shards import WatchedShard
from pyshard.bootstrap.status_page.shown_state_store import WatchedStateStore
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.log_positions import LogPosition
from pyshard.replication.group_times import of_lease
from pyshard.replication.wishes import ReplicaReport, Wish, WishKind
from pyshard.settings import settings

STORE = WatchedStateStore("memory", "memory")
PLACES = tuple(MapReplica("10.0.0.1", 5050 + 100 * n, StoreId(f"{n}d", "i"), True) for n in range(3))
A, B, C = (place.address for place in PLACES)
GROUP = ReplicaGroup(3, A, frozenset({A, B, C}), PLACES, 2, 3.0)
NOW = 100.0


def says(number: int, last: int = 9, wish: Wish | None = None, **changes: Any) -> HeardReport:
    """What a replica says, just now."""
    report = ReplicaReport(f"{number}d", "i", True, 3, LogPosition(3, last), wish=wish)
    return HeardReport(msgspec.structs.replace(report, **changes), NOW - 0.05, True)


def silent(heard: HeardReport, seconds: float) -> HeardReport:
    """One that was last heard so many seconds ago."""
    return attrs.evolve(heard, at=NOW - seconds, answers=False)


ALL = {A: says(0), B: says(1), C: says(2, 7)}
SILENT = ALL | {A: silent(says(0), 2.0)}
WANTS = says(1, wish=Wish(WishKind.LEAD, B))
READY = ShardReadiness("low", A, Condition.READY, "")
GONE = ShardReadiness("low", A, Condition.UNREACHABLE, "connection refused")
FIGURES = ShardFigures(NOW - 0.5, 100.0, 5000, 30, 400, epoch=7)
SHARD = WatchedShard(LOW.led_by_group(GROUP), READY, FIGURES, replicas=WatchedGroup(GROUP, ALL))


def test_a_group() -> None:
    """All of it: a primary, a member that lags, one that is away, and a learner that is being copied to."""
    learner = MapReplica("10.0.0.4", 5050, StoreId("3d", "i"))
    unseen = MapReplica("10.0.0.5", 5050)
    group = attrs.evolve(GROUP, replicas=(*PLACES, learner, unseen), least=3)
    heard = {A: says(0), B: says(1, 7), C: silent(says(2, 5), 12.34), learner.address: says(3, 2, complete=False)}
    stale = {A: 0.0, B: 0.34, C: None, "10.0.0.9:5050": 1.0}  # the primary shows no state of another time
    assert WatchedGroup(group, heard).shown("low", NOW, stale) == {
        "shard": "low",
        "ballot": 3,
        "least": 3,
        "lease": 3.0,
        "members": 3,
        "most_stale": 6.0,
        "replicas": [
            shown_replica(A, "primary", "up", "good", behind=0),
            shown_replica(B, "member", "up", "good", behind=2, stale=0.3),
            shown_replica(C, "member", "down", "bad", behind=4, silent=12.3),
            shown_replica(learner.address, "learner", "copying", "info", durable=False),
            shown_replica(unseen.address, "learner", "not reached yet", "warn", durable=False),
        ],
    }


def shown_replica(address: str, role: str, state: str, level: str, **more: Any) -> dict[str, Any]:
    """A replica for JSON."""
    shown = {"address": address, "role": role, "state": state, "level": level}
    return shown | {"why": "", "behind": None, "stale": None, "silent": None, "durable": True} | more


def test_replicas_that_wait() -> None:
    """One that can't go on by itself says why; a primary that came back with another store can't lead."""
    shown: Any = WatchedGroup(GROUP, {A: says(0, incarnation="j"), B: says(1, failed="the disk\nfails")}).shown(
        "", NOW, {}
    )
    told = [(one["state"], one["level"], one["why"]) for one in shown["replicas"]]
    assert told == [
        ("waits", "bad", "it came back with another store, so it can't lead"),
        ("waits", "bad", r"the disk\nfails"),
        ("not reached yet", "warn", ""),
    ]


def test_copies_that_came_to_nothing() -> None:
    """A replica of which a copy was begun more than once says so, and so does its shard, whose member is missing."""
    group = attrs.evolve(GROUP, members=frozenset({A, B}))
    told = []
    for copies in (1, 3):
        watched = WatchedGroup(group, {A: says(0), B: says(1), C: says(2, complete=False, copies=copies)})
        shown: Any = watched.shown("low", NOW, {})
        told.append((shown["replicas"][2]["state"], shown["replicas"][2]["why"], watched.members_note))
    why, note = (
        "a copy was begun 3 times, and none before came to its end, or was caught up with",
        "2 of 3 replicas have",
    )
    assert told == [("copying", "", f"{note} all documents"), ("copying", why, f"{note} all documents; {C}: {why}")]


def test_a_slow_member_is_told_of() -> None:
    """The page has it beside how many members there are, as the primary says it, in characters that can be shown."""
    watched = WatchedGroup(GROUP, ALL | {A: says(0, slow=f"changes wait long for {C}\n")})
    assert watched.members_note == f"3 of 3 replicas have all documents; changes wait long for {C}\\n"


def test_how_old_what_members_show_is() -> None:
    """The page has it by what the primary told last; what it told too long ago isn't shown."""
    ages = {}
    for at in (NOW - 0.5, NOW - 60):
        told = attrs.evolve(SHARD, figures=attrs.evolve(FIGURES, at=at, stale={B: 0.25, C: 7.0}))
        shown: Any = shown_cluster(WatchedCluster(STATE, STORE, [told], now=NOW))
        ages[at] = [one["stale"] for one in shown["groups"][0]["replicas"]]
    assert ages == {NOW - 0.5: [None, 0.2, 7.0], NOW - 60: [None, None, None]}


LATE = of_lease(3.0).grace + HEARD_WITHIN


@pytest.mark.parametrize(
    ("heard", "readiness", "state", "why"),
    [
        (ALL, READY, "ready", ""),
        (SILENT, GONE, "failing over", f"the primary {A} is gone; one of 2 members is to lead"),
        (SILENT, READY, "failing over", f"the primary {A} is gone; one of 2 members is to lead"),
        ({A: silent(says(0), LATE), B: says(1)}, GONE, "failing over", f"the primary {A} is gone; one of 1"),
        ({A: silent(says(0), LATE + 1), B: says(1)}, GONE, "down", "connection refused; its members want no other"),
        ({A: silent(says(0), LATE + 1), B: WANTS}, GONE, "failing over", f"the primary {A} is gone"),
        ({B: says(1)}, GONE, "down", "connection refused; its members want no other primary, so it may serve"),
        ({B: WANTS}, GONE, "failing over", f"the primary {A} is gone"),
        ({A: says(0, incarnation="j"), B: says(1)}, READY, "failing over", f"the primary {A} is gone"),
        ({A: says(0, failed="its disk"), B: says(1)}, READY, "ready", ""),
        ({A: says(0, failed="its disk"), B: WANTS}, READY, "failing over", f"the primary {A} is gone"),
        (ALL, attrs.evolve(GONE, detail="not reached yet"), "failing over", f"{A} is to lead"),
        ({A: silent(says(0), 2.0), B: silent(says(1), 1.0)}, GONE, "down", "connection refused"),
        ({A: silent(says(0), 2.0), B: says(1, incarnation="j")}, GONE, "down", "connection refused"),
        ({A: silent(says(0), 2.0), B: says(1, failed="its disk")}, GONE, "down", "connection refused"),
        ({}, GONE, "down", "connection refused"),
        ({}, attrs.evolve(READY, condition=Condition.REFUSED, detail="another one"), "refused", "another one"),
    ],
)
def test_failing_over(heard: dict[str, HeardReport], readiness: ShardReadiness, state: str, why: str) -> None:
    """A shard fails over while its primary is away and a member is there that can lead, and until that one is told."""
    shard = attrs.evolve(SHARD, readiness=readiness, replicas=WatchedGroup(GROUP, heard))
    look, reason = shard.look(NOW, 0.0)
    assert (look.value, reason[: len(why)]) == (state, why)
    assert bool(reason) == bool(why)


@pytest.mark.parametrize(
    ("members", "least", "figures", "state", "level", "why"),
    [
        ({A, B, C}, 3, {}, "ready", "good", ""),
        ({A, B}, 2, {}, "member missing", "warn", "2 of 3 replicas have all documents"),
        ({A, B}, 2, {"size": 900}, "member missing", "warn", "2 of 3 replicas have all documents"),
        ({A, B}, 2, {"size": 999}, "full", "bad", "it refuses changes that take more room"),
        (
            {A},
            2,
            {"size": 999},
            "too few members",
            "bad",
            "it takes no changes: 1 of 3 replicas have all documents, and min_replicas is 2",
        ),
        ({A}, 2, {"failing": True}, "failing", "bad", "its disk takes no changes"),
    ],
)
def test_members(members: set[str], least: int, figures: dict[str, Any], state: str, level: str, why: str) -> None:
    """A missing member is told, and too few for changes above it."""
    group = attrs.evolve(GROUP, members=frozenset(members), least=least)
    shard = attrs.evolve(
        SHARD, own=LOW.led_by_group(group), figures=attrs.evolve(FIGURES, **figures), replicas=WatchedGroup(group, ALL)
    )
    look, reason = shard.look(NOW, 0.0)
    assert (look.value, look.level.value, reason) == (state, level, why)


def test_in_the_cluster() -> None:
    """The page's object has the group with its shard's state and color, and the shard says how many members it has."""
    group = attrs.evolve(GROUP, members=frozenset({A, B}))
    own = LOW.led_by_group(group)
    other = WatchedShard(MapShard("high", STATE.map.shards[1].ranges, 1000, "10.0.0.2", 5051), READY)
    state = attrs.evolve(STATE, map=ShardMap([own, other.own]))
    watched = [attrs.evolve(SHARD, own=own, replicas=WatchedGroup(group, ALL)), other]
    shown: Any = shown_cluster(WatchedCluster(state, STORE, watched, 2, now=NOW, since=NOW))
    (only,) = shown["groups"]
    color = colors_of(["low", "high"])["low"]
    assert {name: only[name] for name in ("shard", "state", "level", "color", "members")} == {
        "shard": "low",
        "state": "member missing",
        "level": "warn",
        "color": color,
        "members": 2,
    }
    assert shown["all_groups"] == 1
    first, second = shown["shards"]
    assert (first["members"], first["replicas"], first["state"]) == (2, 3, "member missing")
    assert not {"members", "replicas"} & second.keys()


def test_many_groups() -> None:
    """Of very many those are shown that aren't well, in the map's order; shards that lack a member are watched."""
    many = settings.SHOWN_SHARDS + 1
    step = SLOTS // many
    shards = []
    for number in range(many):
        end = SLOTS if number == many - 1 else (number + 1) * step
        places = [MapReplica("10.0.0.1", 1000 + number), MapReplica("10.0.0.1", 10_000 + number)]
        addresses = [place.address for place in places]
        members = frozenset(addresses[:1] if number in (120, many - 1) else addresses)
        group = ReplicaGroup(1, addresses[0], members, tuple(places))
        shard = MapShard(f"s{number:03}", ((number * step, end),), 1000, "10.0.0.1", 1000 + number)
        shards.append(shard.led_by_group(group))
    state = attrs.evolve(STATE, map=ShardMap(shards))
    names = watched_names(state, {shard.name for shard in shards})
    assert names == [shard.name for shard in shards if shard.name != f"s{many - 2:03}"]
    watched = [
        WatchedShard(shard, attrs.evolve(READY, name=shard.name), replicas=WatchedGroup(shard.group, {}))
        for shard in shards
        if shard.group is not None and shard.name in names
    ]
    told = [
        attrs.evolve(one, replicas=WatchedGroup(one.replicas.group, _reports(one.replicas.group)))
        for one in watched
        if one.replicas is not None
    ]
    shown: Any = shown_cluster(WatchedCluster(state, STORE, told, many, now=NOW, since=NOW))
    listed = [group["shard"] for group in shown["groups"]]
    assert listed == [f"s{number:03}" for number in range(MOST_GROUPS - 2)] + ["s120", f"s{many - 1:03}"]
    assert shown["all_groups"] == many
    assert len(msgspec.json.encode(shown)) < 600_000
    down = [attrs.evolve(one, readiness=attrs.evolve(GONE, name=one.own.name)) for one in watched]
    shown = shown_cluster(WatchedCluster(state, STORE, down, now=NOW, since=NOW))
    assert len(shown["problems"]) == MOST_PROBLEMS


def _reports(group: ReplicaGroup) -> dict[str, HeardReport]:
    """What all replicas of a group say, whatever their stores are."""
    return {replica.address: says(0) for replica in group.replicas}
