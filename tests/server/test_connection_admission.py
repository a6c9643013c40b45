"""How many connections a daemon has: at, under and over each limit, and who gives way to whom."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from pyshard.security.tokens_and_roles import Role
from pyshard.server.connection_admission import Admission, ConnectionLimits, origin_of
from pyshard.settings import settings

HERE, THERE = "192.0.2.1", "192.0.2.2"

LIMITS = ConnectionLimits(total=3, address=2, strangers=2, refused=1)


def comes(admission: Admission[int], connection: int, origin: str | None = None, now: float = 0.0) -> bool:
    """Have a connection come, if it may; whether it may."""
    if admission.refusal(origin, now) is not None:
        return False
    admission.evict_stranger(origin, now)
    admission.add(connection, origin, now)
    return True


def test_defaults() -> None:
    """Without other limits those of the settings hold."""
    assert ConnectionLimits() == ConnectionLimits(
        settings.MAX_CONNECTIONS, settings.MAX_CONNECTIONS_PER_ADDRESS, settings.MAX_STRANGERS, settings.MAX_REFUSED
    )


def test_in_all() -> None:
    """As many as the limit may come, and one more when one has gone."""
    admission: Admission[int] = Admission(LIMITS, guarded=False)
    assert [comes(admission, number) for number in range(4)] == [True, True, True, False]
    refused = admission.refusal(None, 0.0)
    assert str(refused) == (
        "this daemon has 3 connections already, as many as it may; close clients that aren't needed, or give it a "
        "higher --max-connections"
    )
    admission.remove(1, None)
    assert [comes(admission, number) for number in (4, 5)] == [True, False]


@pytest.mark.parametrize("guarded", [True, False])
def test_from_one_address(guarded: bool) -> None:
    """As many as the limit may come from one address; others aren't concerned, nor who has no address."""
    admission: Admission[int] = Admission(ConnectionLimits(10, 2, 10, 10), guarded)
    assert [comes(admission, number, HERE) for number in range(3)] == [True, True, False]
    assert str(admission.refusal(HERE, 0.0)).startswith("this daemon has 2 connections from 192.0.2.1 already")
    assert [comes(admission, number, THERE) for number in (10, 11)] == [True, True]
    assert [comes(admission, number, None) for number in (20, 21, 22)] == [True, True, True]
    admission.remove(0, HERE)
    assert [comes(admission, number, HERE) for number in (30, 31)] == [True, False]


def test_strangers() -> None:
    """Strangers have places of their own, and take none of those that serve."""
    admission: Admission[int] = Admission(LIMITS, guarded=True)
    assert [comes(admission, number) for number in range(3)] == [True, True, False]
    assert str(admission.refusal(None, 0.0)).startswith("2 peers are about to present their tokens already")
    assert admission.promote(0, Role.READ) is None
    assert comes(admission, 3)
    for number in (1, 3):
        assert admission.promote(number, Role.WRITE) is None
    assert comes(admission, 4)
    assert str(admission.promote(4, Role.WRITE)).startswith("this daemon has 3 connections already")


def test_an_admin_always_has_a_place() -> None:
    """A daemon that is full of clients is still to be reached by its bootstrap."""
    admission: Admission[int] = Admission(LIMITS, guarded=True)
    for number in range(3):
        assert comes(admission, number)
        assert admission.promote(number, Role.READ) is None
    assert comes(admission, 3)
    assert admission.promote(3, Role.WRITE) is not None
    assert admission.promote(3, Role.ADMIN) is None
    assert admission.promote(1, Role.WRITE) is None  # one that has a place keeps it with another token


def test_who_does_nothing_with_his_place_loses_it() -> None:
    """The oldest stranger gives way to one more when it has had a second; before, who comes is refused."""
    admission: Admission[int] = Admission(LIMITS, guarded=True)
    assert comes(admission, 0, now=0.0)
    assert comes(admission, 1, now=0.5)
    assert not comes(admission, 2, now=0.9)
    assert admission.evict_stranger(None, 0.9) is None
    assert admission.refusal(None, 1.1) is None
    assert admission.evict_stranger(None, 1.1) == 0
    assert admission.evict_stranger(None, 1.1) is None
    admission.add(2, None, 1.1)
    assert list(admission.strangers) == [1, 2]
    admission.remove(0, None)  # when it is really gone
    assert list(admission.strangers) == [1, 2]


def test_the_heaviest_address_gives_way_at_once() -> None:
    """Who connects again and again keeps out its own address alone: another one gets a place, however new all are."""
    admission: Admission[int] = Admission(ConnectionLimits(9, 9, 4, 9), guarded=True)
    for number, origin in enumerate([THERE, HERE, HERE, HERE]):
        assert comes(admission, number, origin)
    assert not comes(admission, 4, HERE)
    assert admission.evict_stranger(HERE, 0.0) is None
    assert admission.refusal(None, 0.0) is None
    assert admission.evict_stranger(None, 0.0) == 1  # the oldest of the address that has most
    admission.add(5, None, 0.0)
    assert list(admission.strangers) == [0, 2, 3, 5]
    assert [comes(admission, 6, origin) for origin in (THERE, None, HERE)] == [False] * 3  # none has more than another


def test_no_room_is_made_without_need() -> None:
    """Where there is room, or nobody is a stranger, nobody gives way."""
    for guarded in (True, False):
        admission: Admission[int] = Admission(LIMITS, guarded)
        comes(admission, 0)
        assert admission.evict_stranger(None, 100.0) is None


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(["come", "go", "known"]), st.integers(0, 9), st.sampled_from([HERE, THERE, None]))
    ),
)
def test_counts_hold(guarded: bool, steps: list[tuple[str, int, str | None]]) -> None:
    """Whoever comes and goes: no limit is crossed, and when all have gone nothing is left."""
    admission: Admission[int] = Admission(LIMITS, guarded)
    there: dict[int, str | None] = {}
    serving: set[int] = set()
    for now, (step, number, origin) in enumerate(steps):
        if step == "come" and number not in there and admission.refusal(origin, now) is None:
            admission.evict_stranger(origin, now)
            admission.add(number, origin, now)
            there[number] = origin
            serving |= set() if guarded else {number}
        elif step == "go" and number in there:
            admission.remove(number, there.pop(number))
            serving.discard(number)
        elif step == "known" and guarded and number in there and admission.promote(number, Role.READ) is None:
            serving.add(number)
        assert len(serving) <= LIMITS.total
        assert len(admission.strangers) <= LIMITS.strangers
        assert list(admission._stranger_origins) == list(admission.strangers)
        assert admission._strangers_from == Counter(admission._stranger_origins.values())
        origins = list(there.values())
        assert max(origins.count(HERE), origins.count(THERE)) <= LIMITS.address
    for number, origin in there.items():
        admission.remove(number, origin)
    assert (admission._serving, admission.strangers, dict(admission._origins)) == (set(), {}, {})
    assert (admission._stranger_origins, dict(admission._strangers_from)) == ({}, {})


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        (IPv4Address("TCP", HERE, 40_000), HERE),
        (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 40_000), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "2001:db8:1:2::1", 40_000), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "fe80::1%eth0", 40_000), "fe80::/64"),
        (IPv6Address("TCP", "::1", 40_000), "::/64"),
        (IPv6Address("TCP", f"::ffff:{HERE}", 40_000), HERE),
        (UNIXAddress(None), "Unix sockets"),
        (UNIXAddress(b"/a/name/that/the/peer/has/chosen"), "Unix sockets"),
        (None, "Unix sockets"),
    ],
)
def test_origins(peer: object, origin: str) -> None:
    """What counts as one address: an IPv4 address, also within IPv6; of IPv6 a network; all Unix sockets."""
    assert origin_of(peer) == origin


@pytest.mark.parametrize("files", [16, 64, 256, 1024, 4096, 11_599])
def test_fewer_files(files: int) -> None:
    """A process that may have few files open takes fewer connections of every kind, and keeps files for itself."""
    lower = ConnectionLimits().within(files)
    kinds = (lower.total, lower.strangers, lower.refused, lower.handshakes)
    assert sum(kinds) <= files - min(settings.OTHER_FILES, files // 2) + 2
    assert min(kinds) >= 1
    assert lower.address == settings.MAX_CONNECTIONS_PER_ADDRESS


def test_enough_files() -> None:
    """Where there are enough nothing is lowered."""
    limits = ConnectionLimits()
    assert limits.files == 12_400
    assert limits.within(12_400) is limits
