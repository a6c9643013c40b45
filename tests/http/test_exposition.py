"""The format of metrics, whatever a peer says that it accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from pyshard.http.exposition import Exposition, understood
from pyshard.metrics.family import Family, Kind, plain

EXPOSITION = Exposition(
    [Family("pyshard_documents", Kind.GAUGE, "Documents.", plain("documents"))], lambda: {"documents": 3}
)
OPEN, TEXT = "application/openmetrics-text", "text/plain"
PROMETHEUS = (
    f"{OPEN};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPEN};version=0.0.1;q=0.5,"
    f"{TEXT};version=1.0.0;escaping=allow-utf-8;q=0.4,{TEXT};version=0.0.4;q=0.3,*/*;q=0.2"
)
WORDS = [
    OPEN,
    TEXT,
    "*/*",
    ";",
    ",",
    "=",
    " ",
    "version",
    "version=",
    "q=",
    "escaping=",
    "1.0.0",
    "0.0.4",
    ".",
    "é",
    "1",
    "x",
]


def names(accept: str) -> set[str]:
    """The families in what is answered, read in the format that it says to have."""
    body, content_type = EXPOSITION.text(accept)
    content_type.encode("ascii")
    read = openmetrics if content_type.startswith(OPEN) else plain_text
    return {family.name for family in read(body.decode())}


def test_what_prometheus_asks_for() -> None:
    """It gets OpenMetrics, and nothing of what it says is left out."""
    assert understood(PROMETHEUS) == PROMETHEUS
    assert EXPOSITION.text(PROMETHEUS)[1].startswith(f"{OPEN}; version=1.0.0")


@pytest.mark.parametrize(
    "accept",
    [
        "",
        ";;;===,,,",
        "\x00\xff",
        f"{TEXT};q=abc",
        f"{OPEN};version=x",
        f"{OPEN};version=1.0.\xb2",
        f"{OPEN};version=\u0661.0.0",
        f"{OPEN};version={'9' * 5000}",
        f"{OPEN};version=",
        f"{OPEN};version=1.0.0\x01",
        f"{TEXT};version=a, {TEXT};version=1.0.0 x",
    ],
)
def test_odd_words(accept: str) -> None:
    """They are passed over: the answer is in the text format."""
    assert EXPOSITION.text(accept)[1].startswith(TEXT)
    assert "pyshard_documents" in names(accept)


def test_odd_words_beside_others() -> None:
    """What can be understood counts all the same."""
    assert EXPOSITION.text(f"{OPEN};version=x,{OPEN};version=1.0.0")[1].startswith(OPEN)


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12))
def test_any_words(words: list[str]) -> None:
    """Nothing that a peer says makes it fail."""
    assert "pyshard_documents" in names("".join(words))
