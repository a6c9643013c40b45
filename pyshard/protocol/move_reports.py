"""What a shard says of its moves, as the bootstrap is told it: JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec

from pyshard.errors import BadRequest, plain
from pyshard.model.range_moves import SourceReport, TargetReport


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
    given: dict[int, SourceReport]
    taken: dict[int, TargetReport]


def encode_reports(reports: MoveReports) -> bytes:
    """The reports as JSON."""
    return msgspec.json.encode(_JsonReports(dict(reports.given), dict(reports.taken)))


def decode_reports(text: bytes) -> MoveReports:
    """The reports in a JSON text.

    :raises BadRequest: these are none.
    """
    try:
        read = msgspec.json.decode(text, type=_JsonReports)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"reports of moves: found what can't be read, {plain(str(error))}") from None
    return MoveReports(read.given, read.taken)
