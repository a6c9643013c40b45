"""Hostile bytes for every receiver: shard, bootstrap and client, strangers and peers with tokens.

A seed stands for an attack (`fuzzing.Hostile`). What must hold afterwards is in `arena`. CI tries the same few each
time; CONTRIBUTING.md says how to try more.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from arena import BOOTSTRAP, OTHER, SHARD, Arena, arena, hostile, under_lies
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

#: How many times as many examples there are as CI tries.
MORE = int(os.environ.get("PYSHARD_TEST_FUZZ", "1"))


def examples(count: int) -> settings:
    """So many times `MORE`. There is nothing about a seed that could be smaller."""
    return settings(max_examples=count * MORE, phases=[Phase.explicit, Phase.reuse, Phase.generate])


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
@examples(8)
@given(seeds)
def test_open_daemons(kind: str, seed: int) -> None:
    """Each command is answered once, who breaks the protocol loses his own connection, and nobody else notices."""
    with arena(kind, seed=seed) as made:
        _attack(made, Random(seed), [""], 20)


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
@examples(8)
@given(seeds)
def test_guarded_daemons(kind: str, seed: int) -> None:
    """So it is where there are tokens, before and after a peer has presented one, whatever its role."""
    with arena(kind, guarded=True, seed=seed) as made:
        _attack(made, Random(seed), ["", "read", "write", "admin"], 20)


def _attack(made: Arena, random: Random, roles: list[str], attacks: int) -> None:
    who = hostile(made, random)
    there = []
    for _ in range(attacks):
        there.append(made.attack(random.choice([SHARD, OTHER, BOOTSTRAP]), who.attack(), random.choice(roles)))
        made.check()
        if len(there) > 5:
            made.leave(there.pop(random.randrange(5)))
            made.check()


def test_every_cut() -> None:
    """Honest boxes that end at any byte, and go on or don't."""
    with arena() as made:
        data = b"".join(made.recorded[:3])
        for end in range(0, len(data), 1 if MORE > 1 else 7):
            made.leave(made.attack(SHARD, [data[:end]]))
            made.leave(made.attack(SHARD, [data[:end], data[end:]]))
        made.check()


@pytest.mark.parametrize("role", ["", "read"])
@examples(5)
@given(seeds)
def test_who_may_change_nothing(role: str, seed: int) -> None:
    """Whatever a stranger or a reader sends, no store changes by a byte, nor does the cluster's state."""
    with arena(guarded=True, seed=seed) as made:

        def held() -> object:
            stores = [service.shard.store for service in made.cluster.services.values()]
            return [(one.documents, one.used, one._version) for one in stores], made.cluster.state  # type: ignore[attr-defined]

        before, random = held(), Random(seed)
        who = hostile(made, random)
        for _ in range(20):
            made.leave(made.attack(random.choice([SHARD, OTHER, BOOTSTRAP]), who.attack(), role))
        assert held() == before


@pytest.mark.parametrize("everybody", [False, True], ids=["one client", "everybody"])
@pytest.mark.parametrize("address", [SHARD, BOOTSTRAP], ids=["shard", "bootstrap"])
@examples(10)
@given(seed=seeds, share=st.sampled_from([0.05, 0.3, 1.0]))
def test_lies(address: tuple[str, int], everybody: bool, seed: int, share: float) -> None:
    """A client whose shard or bootstrap lies ends every call in time, and never with another caller's answer."""
    with arena(seed=seed) as made:
        under_lies(made, address, Random(seed), share, everybody)
