"""What a replica refuses to do with its log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pyshard.errors import BadRequest, FollowerBehind, ShuttingDown
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition, ballot_at
from pyshard.storage.replicated_interface import ReplicaRole
from pyshard.storage.version_bound import refuse_group_ahead

_G = TypeVar("_G", bound=ReplicatedGroup)


def not_primary() -> ShuttingDown:
    """The refusal of a change by a store that makes no groups."""
    return ShuttingDown("this replica isn't the primary of its shard, and the change was not begun; ask the primary")


def refuse_promise(promised: int, ballot: int) -> None:
    """Refuse to promise a lower ballot than before.

    :raises BadRequest: it is lower, or none.
    """
    if ballot < promised or ballot < 1:
        raise BadRequest(f"promise: found ballot {ballot}, expected {max(1, promised)} at the least")


def refuse_lead(last: int, promised: int, ballot: int) -> None:
    """Refuse to lead under a ballot.

    :param last: the ballot of the log's last group.
    :raises BadRequest: it isn't the promised one, or groups have been made under it already.
    """
    if ballot != promised:
        raise BadRequest(f"lead: found ballot {ballot}, expected the promised one, {promised}")
    if ballot <= last:
        raise BadRequest(f"lead: found ballot {ballot}, and the log has groups of {last}; expected a new ballot")


def refuse_copy(head: ChangeGroup, promised: int, seconds: float) -> None:
    """Refuse a copy whose head has numbers that no honest primary gives: they would leave none for those behind it.

    :param promised: the ballot under which it is made.
    :param seconds: the time since 1970.
    :raises BadRequest: it has such ones.
    """
    refuse_group_ahead(head, seconds)
    if head.ballot > promised:
        raise BadRequest(f"copy: found ballot {head.ballot}, expected none above the promised one, {promised}")


def refuse_unless_member(what: str, role: ReplicaRole, incomplete: bool) -> None:
    """Refuse what only a member does.

    :param what: the verb.
    :raises BadRequest: the store is something else, or incomplete.
    """
    if role is not ReplicaRole.MEMBER:
        raise BadRequest(f"{what}: found a store that is {role.value}, expected a member")
    if incomplete:
        raise BadRequest(f"{what}: found a store with a part of a copy, expected a whole one; load it anew")


def new_groups(history: BallotHistory, last: LogPosition, promised: int, groups: Sequence[_G]) -> list[_G]:
    """Those of a primary's groups that the log doesn't have yet.

    :param history: of the log.
    :param last: the log's last group.
    :raises BadRequest: see `IReplicatedStore.append`.
    """
    new: list[_G] = []
    for group in groups:
        if group.sequence <= last.sequence and not new:
            known = ballot_at(history, group.sequence)
            if known != group.ballot:
                raise BadRequest(
                    f"append: found group {group.sequence:,} of ballot {group.ballot}, and the log has one of ballot "
                    f"{known or 'unknown'}; cut it first"
                )
            continue
        if group.sequence != last.sequence + 1:
            raise BadRequest(f"append: found group {group.sequence:,}, expected {last.sequence + 1:,}")
        if not last.ballot <= group.ballot <= promised:
            raise BadRequest(
                f"append: found ballot {group.ballot} behind {last.ballot}, expected no lower one, and none above the "
                f"promised one, {promised}"
            )
        new.append(group)
        last = LogPosition(group.ballot, group.sequence)
    return new


def refuse_cut(committed: int, sequence: int) -> None:
    """Refuse to cut what is committed.

    :raises FollowerBehind: some of it is.
    """
    if sequence < committed:
        raise FollowerBehind(
            f"cut: found number {sequence:,}, and all up to {committed:,} is committed here; begin anew, with a copy"
        )


def can_not_undo(sequence: int, applied: int) -> FollowerBehind:
    """The refusal of a store that can't undo what it has applied."""
    return FollowerBehind(
        f"cut: found number {sequence:,}, and all up to {applied:,} is applied here and can't be undone; begin anew, "
        "with a copy"
    )
