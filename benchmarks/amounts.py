"""How much a run does: the amounts of every workload, whole and tiny."""

from __future__ import annotations

import attrs


@attrs.frozen
class Amounts:
    """The amounts of a run.

    :param rounds: of each comparison, after the warm-up.
    :param documents: in a store when the work begins.
    :param few: likewise, where single calls have to fill the store, or a shape is by itself.
    :param calls: bulk calls of a round; `shape_calls`: where a shape is by itself.
    :param call: documents of one bulk call.
    :param in_flight: single calls of a round with many in flight; `width`: how many.
    :param each: single blocking calls of a round; `durable_each`: writes that wait for the disk.
    :param durable_seconds: of a round with a durable store, at the least: its calls are done again then.
    :param threaded: calls of all threads together.
    :param large: operations on large documents.
    :param users: YCSB documents.
    :param ycsb: YCSB operations of a round.
    :param variant_rounds: rounds of each comparison that is measured in another way, too.
    :param scale_rounds: rounds of each step of the scaling, with so many documents or shards.
    """

    rounds: int = 7
    documents: int = 100_000
    few: int = 10_000
    calls: int = 40
    shape_calls: int = 20
    call: int = 1000
    in_flight: int = 20_000
    width: int = 500
    each: int = 1500
    durable_each: int = 500
    durable_seconds: float = 2.0
    threaded: int = 4000
    threads: int = 16
    large: int = 400
    users: int = 10_000
    ycsb: int = 5000
    variant_rounds: int = 5
    scale_rounds: int = 3
    scale_documents: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    scale_shards: tuple[int, ...] = (1, 2, 4)

    def least(self, durable: bool) -> float:
        """Seconds of a round, at the least."""
        return self.durable_seconds if durable else 0.0


FULL = Amounts()

#: For the smoke test: it runs every line of code, and its figures mean nothing.
QUICK = Amounts(
    rounds=1,
    documents=300,
    few=100,
    calls=2,
    shape_calls=1,
    call=100,
    in_flight=200,
    width=50,
    each=20,
    durable_each=10,
    durable_seconds=0.0,
    threaded=64,
    large=4,
    users=50,
    ycsb=64,
    variant_rounds=1,
    scale_rounds=1,
    scale_documents=(300,),
    scale_shards=(2,),
)
