"""A member whose primary gives nothing asks again and again, and its log has few and short lines about that."""

from __future__ import annotations

from replication.test_member_pulls import Member

from pyshard.errors import Unavailable


def test_lines_of_the_log(log_lines: list[str]) -> None:
    """Whatever the primary says, and at whatever length."""
    member = Member()
    for _ in range(1000):
        member.refuse(Unavailable("\n\x1b" + "x" * 60_000))
        member.clock.advance(0.05)
    lines = [line for line in log_lines if "h:1: " in line]
    assert len(lines) == 5
    assert all(len(line) < 600 and line.isprintable() for line in lines)
