"""How large the documents are that bulk reads found lately, so that the next ones ask for as many as an answer takes.

What an answer has no room for is refused, and has to be asked for again.

Rule: it is a guess. A wrong one costs a few questions more, and nothing else.
"""

from __future__ import annotations

from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.protocol.batch_operations import Read
from pyshard.settings import settings

_FILLED = 0.8  # of an answer: documents of one index aren't all of one size


class ReadSizes:
    """The bytes of a document of each index, in the last answer that a bulk read had."""

    def __init__(self) -> None:
        self._bytes: dict[str, float] = {}

    def note(self, bulk_operation: BulkOperation) -> None:
        """Take down how large the documents were that a part found."""
        if isinstance(bulk_operation.run, Read) and bulk_operation.answer_bytes:
            self._bytes[bulk_operation.index] = bulk_operation.answer_bytes / len(bulk_operation)

    def fitting(self, index: str) -> int | None:
        """How many documents an answer takes, as far as that is known; None: it isn't."""
        size = self._bytes.get(index)
        return None if size is None else max(1, int(settings.ANSWER_BYTES * _FILLED / size))
