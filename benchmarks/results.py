"""The results of a run, as values and as a JSON file from which page and plot can be made again. Pure."""

from __future__ import annotations

import attrs
import msgspec
from ratios import Outcome, Round, outcome


@attrs.frozen
class Result:
    """The result of a comparison.

    :param name: workload, peer and store, as `--only` takes them.
    :param workload: its title.
    :param peer: the title of the other side.
    :param durable: whether both sides had their data on the disk.
    :param target: the least ratio that the project aims at; None: no target.
    :param rounds: empty when it was skipped.
    :param skipped: why it was; None: it wasn't.
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
        """The figures of its rounds.

        :raises ValueError: it was skipped.
        """
        return outcome(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        return None if self.target is None or not self.rounds else self.outcome.ratio.median >= self.target


@attrs.frozen
class Scale:
    """The results at one number of documents and shards, beside one Redis; in memory.

    :param our_bytes: resident bytes of all shards per document; `peers_bytes`: of Redis.
    :param results: of each workload.
    :param skipped: why there are none; None: there are.
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
    :param seconds: how long it took.
    :param machine: pairs of a property and its value.
    :param versions: pairs of a program or package and its version.
    :param rounds: of each comparison.
    :param documents: how many the stores held.
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
        return [result for result in self.comparisons if result.rounds]


def to_json(results: Results) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def from_json(text: bytes) -> Results:
    """The results in a file's text.

    :raises msgspec.ValidationError: the text holds no results.
    """
    return msgspec.json.decode(text, type=Results)
