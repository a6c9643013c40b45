"""What `pyshard doctor` finds: a check, its subject, a verdict, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs


class CheckVerdict(Enum):
    """How a check ended."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"


@attrs.frozen
class Finding:
    """What one check found.

    :param check: its name, one word.
    :param verdict: how it ended.
    :param text: what was found.
    :param subject: of whom; empty: of the cluster.
    :param cure: what to do; empty where nothing is to be done.
    """

    check: str
    verdict: CheckVerdict
    text: str
    subject: str = ""
    cure: str = ""


def passed(check: str, text: str) -> Finding:
    """A check that found nothing wrong."""
    return Finding(check, CheckVerdict.PASS, text)


def warned(check: str, subject: str, text: str, cure: str) -> Finding:
    """Something to look after soon."""
    return Finding(check, CheckVerdict.WARN, text, subject, cure)


def failed(check: str, subject: str, text: str, cure: str) -> Finding:
    """Something that is wrong now."""
    return Finding(check, CheckVerdict.FAIL, text, subject, cure)


def near(check: str, subject: str, used: float, limits: tuple[float, float], text: str, cure: str) -> list[Finding]:
    """Something that is near its limit, if it is.

    :param used: the part of the limit that is used.
    :param limits: the part beyond which it is to be looked after, and the one beyond which it is wrong.
    """
    warn, fail = limits
    if used > fail:
        return [failed(check, subject, text, cure)]
    return [warned(check, subject, text, cure)] if used > warn else []


def found_or_passed(check: str, found: Sequence[Finding], text: str) -> list[Finding]:
    """What a check of many found, or that it found nothing.

    :param text: says what all of them have, where nothing was found.
    """
    return list(found) or [passed(check, text)]


def worst(findings: Sequence[Finding]) -> CheckVerdict:
    """The worst verdict of all."""
    found = {finding.verdict for finding in findings}
    return next((verdict for verdict in (CheckVerdict.FAIL, CheckVerdict.WARN) if verdict in found), CheckVerdict.PASS)
