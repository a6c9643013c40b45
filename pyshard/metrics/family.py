"""A metric as it is declared: its name, type, unit and labels, and how its values are read out of what `stat` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import attrs

#: What `stat` gives, as docs/protocol.md lists it.
Stat: TypeAlias = Mapping[str, Any]

#: A value with the values of its labels. That of a histogram is what `Histogram.described` gives.
Sample: TypeAlias = tuple[tuple[str, ...], Any]


class Kind(Enum):
    """The type of a metric, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen
class Family:
    """One metric, with all values of its labels.

    :param name: by Prometheus' rules: that of a counter ends in ``_total``.
    :param text: what it is, in one line.
    :param samples: reads it; none: the daemon has nothing to say of it.
    :param unit: of its values; empty: a plain number.
    """

    name: str
    kind: Kind
    text: str
    samples: Callable[[Stat], Iterable[Sample]]
    unit: str = ""
    labels: tuple[str, ...] = ()


def plain(field: str) -> Callable[[Stat], Iterable[Sample]]:
    """A metric without labels that is a field of `stat`; none, where that lacks it."""
    return lambda stat: [((), stat[field])] if stat.get(field) is not None else []


def labeled(field: str) -> Callable[[Stat], Iterable[Sample]]:
    """A metric with one label that is a field of `stat`: an object, with the label's values as its names."""
    return lambda stat: [((label,), value) for label, value in stat.get(field, {}).items()]
