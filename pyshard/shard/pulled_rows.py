"""Which rows the target of a move takes from its source: those alone that a client could have stored. Pure.

A row that no client could store would be there for good: nobody could name its key, or would ask for it in its slot.
And each walk over the keys, each backup and each further move of the honest store would come to it, and fail.

All rows are looked at together first, which mostly settles it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from pyshard.errors import BadRequest, shortened
from pyshard.model.cluster_state import DEFAULT_INDEX, ClusterState
from pyshard.model.document_encoding import HEAD
from pyshard.model.key_slots import slots_of
from pyshard.model.record_check import are_records, record_fault
from pyshard.protocol.argument_types import shown_bytes
from pyshard.protocol.change_groups import Change
from pyshard.settings import settings
from pyshard.storage.index_ids import is_dropped


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
    by_index: defaultdict[int, list[Change]] = defaultdict(list)
    for change in changes:
        by_index[change.index].append(change)
    for number, ones in by_index.items():
        _check_keys([change.key for change in ones])
        if number not in names and is_dropped(number, next_index):
            continue  # nobody stores it
        slots = slots_of([change.key for change in ones], names[number])
        for change, slot in zip(ones, slots, strict=True):
            if change.slot != slot:
                raise _odd(change, f"slot {change.slot:,}, expected {slot:,}")
    put = [change for change in changes if change.record is not None]
    records = [change.record for change in put if change.record is not None]
    longest = settings.MAX_DOCUMENT_BYTES + HEAD.size
    if are_records(records) and max(map(len, records), default=0) <= longest:
        return
    for change, record in zip(put, records, strict=True):
        if len(record) > longest:
            raise _odd(change, f"a record of {len(record):,} bytes, expected {longest:,} at the most")
        if fault := record_fault(record):
            raise _odd(change, f"no record, but {fault}")


def _check_keys(keys: Sequence[bytes]) -> None:
    """Refuse keys that no client can have."""
    together = b"".join(keys)
    if len(together) <= settings.MAX_KEY_BYTES and together.isascii():
        return
    for key in keys:
        if len(key) > settings.MAX_KEY_BYTES:
            raise BadRequest(
                f"rows: found a key of {len(key):,} bytes, expected {settings.MAX_KEY_BYTES:,} at the most"
            )
        try:
            key.decode()
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"rows: found a key that is not UTF-8, at byte {error.start}: {shown_bytes(key)}"
            ) from None


def _odd(change: Change, found: str) -> BadRequest:
    of_index = f" of index {change.index}" if change.index else ""
    return BadRequest(f"rows: found for key {shortened(change.key.decode())!r}{of_index} {found}")
