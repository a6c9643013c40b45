"""The findings of `pyshard doctor` as lines for people, and as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

import click

from pyshard.cli.doctor.findings import CheckVerdict, Finding
from pyshard.errors import plain

_COLORS = {CheckVerdict.PASS: "green", CheckVerdict.WARN: "yellow", CheckVerdict.FAIL: "red"}
_CHECK = 13  # columns of a check's name


def report_lines(findings: Sequence[Finding], width: int) -> list[str]:
    """The findings, a line each or more, and a line about all of them.

    :param width: columns of the terminal.
    """
    lines = []
    for finding in findings:
        verdict = finding.verdict.value
        indent = " " * (len(verdict) + 2 + _CHECK)
        text = plain(f"{finding.subject}: {finding.text}" if finding.subject else finding.text)  # a daemon may word it
        paragraph = _wrapped(text, width - len(indent))
        lines.append(f"{verdict}  {finding.check:{_CHECK}}{paragraph[0]}")
        lines += [f"{indent}{line}" for line in paragraph[1:]]
        if finding.cure:
            lines += [f"{indent}{line}" for line in _wrapped(plain(f"→ {finding.cure}"), width - len(indent))]
    counts = Counter(finding.verdict for finding in findings)
    words = {CheckVerdict.FAIL: "failed", CheckVerdict.WARN: "to look after", CheckVerdict.PASS: "passed"}
    return [*lines, ", ".join(f"{counts[verdict]} {word}" for verdict, word in words.items()) + "."]


def painted(line: str) -> str:
    """A line with the color of its verdict, if it begins with one."""
    for verdict, color in _COLORS.items():
        if line.startswith(f"{verdict.value}  "):
            return click.style(verdict.value, fg=color) + line.removeprefix(verdict.value)
    return line


def report_json(findings: Sequence[Finding], verdict: CheckVerdict) -> dict[str, object]:
    """The findings as JSON has them."""
    return {
        "verdict": verdict.value,
        "findings": [
            {
                "check": finding.check,
                "verdict": finding.verdict.value,
                "subject": finding.subject,
                "text": finding.text,
                "cure": finding.cure,
            }
            for finding in findings
        ],
    }


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, max(30, width), break_long_words=False, break_on_hyphens=False) or [""]
