"""The results of a run, as values and as a JSON file from which page and plot can be made again. Pure."""

from __future__ import annotations

import attrs
import msgspec
from ratios import Outcome, Round, outcome
from shapes import MIX

#: The name of the file.
FILE = "benchmarks.json"


@attrs.frozen
class Result:
    """The result of a comparison.

    :param name: workload, peer, store and shape, as `--only` takes them.
    :param workload: its title.
    :param peer: the title of the other side.
    :param durable: whether both sides had their data on the disk.
    :param shape: the name of the documents' shape; None: they are of the workload alone.
    :param target: the least ratio that the project aims at; None: no target.
    :param rounds: empty when it was skipped.
    :param skipped: why it was; None: it wasn't.
    """

    name: str
    workload: str
    peer: str
    durable: bool
    shape: str | None
    target: float | None
    rounds: list[Round]
    skipped: str | None = None

    @property
    def verb(self) -> str:
        """The name of the workload."""
        return self.name.partition("/")[0]

    @property
    def common(self) -> tuple[str, ...]:
        """The part of its name that the same comparison of another shape has, too: workload, peer, store."""
        return tuple(self.name.split("/")[:3])

    @property
    def alone(self) -> bool:
        """Whether its documents are of one shape, of several that there are."""
        return self.shape not in (None, MIX.name)

    @property
    def outcome(self) -> Outcome:
        """The figures of its rounds.

        :raises ValueError: it was skipped.
        """
        return outcome(self.rounds)

    @property
    def ratio(self) -> float:
        """The median of its ratios."""
        return self.outcome.ratio.median

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        return None if self.target is None or not self.rounds else self.ratio >= self.target


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
    :param variants: what the same comparisons gave in other ways; see `variants`.
    """

    date: str
    seconds: float
    machine: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    rounds: int
    documents: int
    comparisons: list[Result]
    scales: list[Scale]
    variants: dict[str, list[Result]] = attrs.Factory(dict)

    def ran(self) -> list[Result]:
        """The comparisons that were not skipped."""
        return [result for result in self.comparisons if result.rounds]

    def main(self) -> list[Result]:
        """Those that were not skipped, without what one shape did by itself."""
        return [result for result in self.ran() if not result.alone]

    def shapes_of(self, result: Result) -> list[Result]:
        """What each shape did by itself, in the comparison that a result has of all shapes together."""
        return [other for other in self.ran() if other.alone and other.common == result.common]

    def worst_shape(self, result: Result) -> Result | None:
        """The one of `shapes_of` with the lowest ratio; None where the shapes did nothing by themselves."""
        return min(self.shapes_of(result), key=lambda other: other.ratio, default=None)

    def reached(self, result: Result) -> bool | None:
        """Whether all shapes together reach the target, and each by itself its own; None without a target."""
        if result.met is None:
            return None
        return result.met and all(other.met for other in self.shapes_of(result))

    def varied(self, name: str) -> list[tuple[Result, Result]]:
        """What a variant measured: each comparison in the usual way, and in the other one."""
        usual = {result.name: result for result in self.main()}
        found = [result for result in self.variants.get(name, []) if result.rounds]
        return [(usual[result.name], result) for result in found if result.name in usual]

    def by_documents(self) -> list[Scale]:
        """The scales with two shards, by documents."""
        found = [scale for scale in self.scales if scale.results and scale.shards == 2]
        return sorted(found, key=lambda scale: scale.documents)

    def by_shards(self) -> list[Scale]:
        """The scales with the usual number of documents, by shards."""
        found = [scale for scale in self.scales if scale.results and scale.documents == self.documents]
        return sorted(found, key=lambda scale: scale.shards)

    def largest(self) -> Scale | None:
        """The scale whose memory the page reports: two shards, most documents."""
        return self.by_documents()[-1] if self.by_documents() else None


def to_json(results: Results) -> bytes:
    """The text of a file."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def from_json(text: bytes) -> Results:
    """The results in a file's text.

    :raises msgspec.ValidationError: the text holds no results.
    """
    return msgspec.json.decode(text, type=Results)
