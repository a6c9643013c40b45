"""Errors that are kept: none is raised again and again, for it would keep the frames of each time.

An exception's traceback grows each time it is raised. Its frames hold their variables: documents, groups, whole logs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import PLENTY, at_once

import pyshard
from pyshard.protocol.batch_operations import Pop, Read, ReadItem, Run, Write
from pyshard.storage import MemoryStore, Task, batch_executor

PACKAGE = Path(pyshard.__file__).parent


def raised_constants(source: str) -> Iterator[str]:
    """Names that a module sets at its top and raises somewhere, other than classes."""
    tree = ast.parse(source)
    kept = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id in kept:
            yield node.exc.id


def test_no_constant_is_raised() -> None:
    """No module raises an exception that it made when it was loaded."""
    files = sorted(PACKAGE.rglob("*.py"))
    assert files
    assert [(path.name, name) for path in files for name in raised_constants(path.read_text(encoding="utf-8"))] == []


def test_what_is_looked_for() -> None:
    """Such a module is found; one that makes the error where it raises it isn't."""
    assert list(raised_constants("FULL = Full()\ndef f():\n    raise FULL\n")) == ["FULL"]
    assert list(raised_constants("FULL = Full\ndef f():\n    raise FULL()\n")) == []


@pytest.mark.parametrize("run", [Read("", [b"a", b"b"]), ReadItem("", [b"a", b"b"]), Pop("", [b"a", b"b"])])
def test_a_full_answer_keeps_nothing(run: Run) -> None:
    """Operations that are refused since the answer is full leave no traceback behind."""
    store = MemoryStore("1d", lambda: 0.0)
    store.apply([Task(Write("", [b"a", b"b"], [b"record"] * 2), 0, [0, 1])], PLENTY, PLENTY)
    (answer,) = at_once(store.apply([Task(run, 0, [0, 1])], PLENTY, 1))
    assert [code for code, _ in answer.errors.values()] == ["ANSWER_FULL"]
    for error in (value for value in vars(batch_executor).values() if isinstance(value, BaseException)):
        assert error.__traceback__ is None
