"""Which rows the target of a move takes from its source: those alone that a client could have stored. Pure.

What is wrong with others says `pyshard.protocol.row_faults`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import DEFAULT_INDEX, ClusterState
from pyshard.protocol.change_groups import Change
from pyshard.protocol.row_faults import key_fault, record_faults, slot_fault
from pyshard.storage.index_ids import is_dropped

_INDEX, _KEY, _SLOT, _RECORD = map(attrgetter, ("index", "key", "slot", "record"))


def row_check(state: Callable[[], ClusterState]) -> Callable[[Sequence[Change]], None]:
    """`refuse_odd_rows` with the indexes of a cluster's state, which is asked for each time."""

    def check(changes: Sequence[Change]) -> None:
        refuse_odd_rows(changes, state().indexes, state().next_index)

    return check


def refuse_odd_rows(changes: Sequence[Change], indexes: Mapping[str, int], next_index: int) -> None:
    """Refuse what another shard says of rows, if no client could have stored one.

    :param indexes: name → id of all named indexes.
    :param next_index: no index has had this id or a higher one, as far as this shard knows.
    :raises BadRequest: there is one; why, and its key.
    :raises ShardBehind: one is of an index that this shard wasn't told of.
    """
    names = {DEFAULT_INDEX: b"", **{number: name.encode() for name, number in indexes.items()}}
    for number, ones in _by_index(changes).items():
        keys = list(map(_KEY, ones))
        fault = key_fault(keys)
        if fault is None and (number in names or not is_dropped(number, next_index)):  # else nobody stores it
            fault = slot_fault(keys, list(map(_SLOT, ones)), names[number])
        if fault is not None:
            raise BadRequest(f"rows: found {fault}")
    fault = record_faults([record for record in map(_RECORD, changes) if record is not None])
    if fault is not None:
        raise BadRequest(f"rows: found {fault}")


def _by_index(changes: Sequence[Change]) -> Mapping[int, Sequence[Change]]:
    if len(numbers := set(map(_INDEX, changes))) <= 1:
        return dict.fromkeys(numbers, changes)
    found: defaultdict[int, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.index].append(change)
    return found
