"""A program with the blocking client, as type checkers see it: strict, and without a cast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from pyshard import BlockingIndex, Document, Pyshard, Record


@dataclass
class Page:
    """A dataclass."""

    url: str


def readme() -> None:
    """The session of README.md."""
    app = Pyshard("localhost:9192")
    size = app.write("ann", {"likes": ["tea", "rain"]})
    assert_type(size, int)
    print(app.get("ann"))
    record = app.read("ann")
    assert_type(record, Record | None)
    if record is not None and isinstance(record["record"], dict):
        print(record["record"]["likes"])
    app.close()


def documents() -> None:
    """What docs/python.md has its sessions do."""
    with Pyshard(["localhost", 9192], deadline=5) as app:
        app.write_many({"a": 1, "b": [2, 3]})  # or pairs of a key and a document
        print([found and found["record"] for found in app.read_many(["b", "nothing", "a"])])
        app.write_many((f"page {n}", {"n": n}) for n in range(10_000))
        item = app.item("seat")
        if item:
            app.write("seat", "Ann", if_version=item["version"])
        assert_type(app.increment("visits", by=10), int)
        likes = app.get("ann", type=dict[str, list[str]])
        assert_type(likes["tea"][0] if likes else "", str)
        assert_type(app.get("a"), Document | None)
        assert_type(app.get("a", 5), Document | int)
        assert_type(app.get_many("ab", type=Page), list[Page | None])
        assert_type([one.url for one in app.get_many("ab", type=Page) if one], list[str])
        assert_type(dict(app.items()), dict[str, Document])
        pages = app.index("pages")
        assert_type(pages, BlockingIndex)
        assert_type(list(pages.keys()), list[str])
        app.write("a", {1, 2})  # type: ignore[arg-type]
