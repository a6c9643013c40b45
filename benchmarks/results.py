"""What a run found, as values and as a file of JSON, from which page and plot can be made again. Pure."""

from __future__ import annotations

import attrs
import msgspec
from measure import Outcome, Round, outcome


@attrs.frozen
class Result:
    """What came of a comparison.

    :param name: workload, peer and store, as `--only` takes them.
    :param workload: its title.
    :param peer: how the other side is called.
    :param target: the least ratio that is aimed at; None: none was set.
    :param rounds: empty when it was skipped.
    :param skipped: why.
    """

    name: str
    workload: str
    peer: str
    durable: bool
    target: float | None
    rounds: list[Round]
    skipped: str | None = None

    @property
    def verb(self) -> str:
        """The name of the workload."""
        return self.name.partition("/")[0]

    @property
    def outcome(self) -> Outcome:
        """What the rounds say.

        :raises ValueError: it was skipped.
        """
        return outcome(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none to reach."""
        return None if self.target is None or not self.rounds else self.outcome.ratio.median >= self.target


@attrs.frozen
class Scale:
    """How pyshard and one Redis do with so many documents, and pyshard with so many shards; in memory.

    :param our_bytes: resident bytes of all shards per document; `peers_bytes`: of Redis.
    :param skipped: why there is nothing.
    """

    documents: int
    shards: int
    our_bytes: float
    peers_bytes: float
    results: list[Result]
    skipped: str | None = None

    @property
    def bytes_ratio(self) -> float:
        """Pyshard's bytes over those of Redis."""
        return self.our_bytes / self.peers_bytes


@attrs.frozen
class Results:
    """A whole run.

    :param date: when it began (UTC).
    :param seconds: what it took.
    :param machine: pairs of a property and its value.
    :param versions: pairs of a program or package and its version.
    :param rounds: of each comparison.
    :param documents: in the stores.
    :param scales: by documents, then by shards.
    """

    date: str
    seconds: float
    machine: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    rounds: int
    documents: int
    comparisons: list[Result]
    scales: list[Scale]

    def ran(self) -> list[Result]:
        """The comparisons that were not skipped."""
        return [one for one in self.comparisons if one.rounds]


def to_json(results: Results) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def from_json(text: bytes) -> Results:
    """The results of a file.

    :raises msgspec.ValidationError: it is none.
    """
    return msgspec.json.decode(text, type=Results)
