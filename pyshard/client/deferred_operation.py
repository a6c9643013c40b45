"""An operation of the Deferred client: its caller holds a Deferred."""

from __future__ import annotations

from operator import attrgetter

import msgspec
from twisted.internet.defer import Deferred

from pyshard.client_core.operation import Operation
from pyshard.errors import PyshardError


class DeferredOperation(Operation, eq=False):
    """One verb on one key, and the Deferred that its caller holds."""

    deferred: Deferred[object] = msgspec.field(default_factory=Deferred)

    withdrawn = property(attrgetter("deferred.called"))  # as nobody but its caller does that while it waits

    def tell(self, outcome: object) -> None:
        """See `Operation`."""
        if isinstance(outcome, PyshardError):
            self.deferred.errback(outcome)
        else:
            self.deferred.callback(outcome)
