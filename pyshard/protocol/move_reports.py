"""What a shard says of its moves, as the bootstrap is told it: JSON. Pure.

Rules:

- a text for people is cut by who reports it, and again by who reads it: what a shard reports can't fill a bootstrap;
- ids and numbers have the bounds that they have in the cluster's state, as they go there. Others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import attrs
import msgspec

from pyshard.errors import of_peer
from pyshard.model.bounded_json import decode_json
from pyshard.model.range_moves import SourceReport, TargetReport
from pyshard.settings import settings

#: Characters of the reason why a move doesn't go on: a state has room for it, with what is said before it.
MAX_REASON = 500

#: Bytes of the reports of one shard: those of all moves that a cluster may have take about half of them.
LONGEST = 4 * 1024 * 1024

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_OfEachMove = msgspec.Meta(max_length=settings.MAX_MOVES)


@attrs.frozen
class MoveReports:
    """What one shard says of its moves, by their numbers.

    :param given: those that it gives.
    :param taken: those that it takes.
    """

    given: Mapping[int, SourceReport] = attrs.field(factory=dict)
    taken: Mapping[int, TargetReport] = attrs.field(factory=dict)


@attrs.frozen
class _JsonReports:
    given: Annotated[dict[_Number, SourceReport], _OfEachMove]
    taken: Annotated[dict[_Number, TargetReport], _OfEachMove]


def encode_reports(reports: MoveReports) -> bytes:
    """The reports as JSON."""
    return msgspec.json.encode(_JsonReports(dict(reports.given), _with_short_reasons(reports.taken)))


def decode_reports(text: bytes) -> MoveReports:
    """The reports in a JSON text.

    :raises BadRequest: these are none.
    """
    read = decode_json(text, _JsonReports, "reports of moves: found what can't be read", LONGEST)
    return MoveReports(read.given, _with_short_reasons(read.taken))


def _with_short_reasons(taken: Mapping[int, TargetReport]) -> dict[int, TargetReport]:
    return {number: attrs.evolve(report, error=of_peer(report.error, MAX_REASON)) for number, report in taken.items()}
