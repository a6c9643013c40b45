"""What a replica remembers over a restart."""

from __future__ import annotations

import msgspec
import pytest
from replication.group_samples import group_of

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.remembered_group import decode_remembered, encode_remembered


@pytest.mark.parametrize("standing", [True, False])
def test_round_trip(standing: bool) -> None:
    """It is what it was; a reader of the group alone finds that."""
    group = group_of()
    text = encode_remembered(group, standing)
    assert decode_remembered(text) == (group, standing)
    assert msgspec.msgpack.decode(text, type=ReplicaGroup) == group


def test_group_alone() -> None:
    """One that was saved without more didn't stand."""
    assert decode_remembered(msgspec.msgpack.encode(group_of())) == (group_of(), False)
