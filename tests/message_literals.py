"""The texts in pyshard's code, so that a page that quotes a message can be compared with what the code says."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pyshard

#: What stands in a text for a part that differs from time to time.
GAP = "…"


@cache
def literals() -> list[str]:
    """Every string in the package but its docstrings; f-strings have `GAP` in place of their values."""
    found = []
    for path in sorted(Path(pyshard.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if node in docstrings:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def is_said(message: str) -> bool:
    """Whether one of the texts has all parts of a message, in their order."""
    parts = [part for part in message.split(GAP) if part.strip()]
    return any(_has(text, parts) for text in literals())


def _has(text: str, parts: list[str]) -> bool:
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True
