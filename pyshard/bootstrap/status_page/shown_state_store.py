"""The place of the cluster's state as the page shows it: what it is, and whether the bootstrap reaches it. Pure.

Its name has no secrets (`StateStore.name`).
"""

from __future__ import annotations

import attrs

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.errors import plain, shortened

#: Characters of an error that are shown.
MOST_ERROR = 500


@attrs.frozen
class WatchedStateStore:
    """What is known of a state store.

    :param kind: see `StateStore`.
    :param name: see `StateStore`.
    :param away: seconds since it was of use; 0: it is.
    :param error: why it isn't of use, in one line; empty: it is.
    """

    kind: str
    name: str
    away: float = 0.0
    error: str = ""

    def shown(self) -> dict[str, object]:
        """For JSON."""
        away = round(self.away) if self.error else None
        return {"kind": self.kind, "name": self.name, "away": away, "error": self.error}


def state_store_of(bootstrap: Bootstrap) -> WatchedStateStore:
    """What a bootstrap knows of its state store."""
    store, changes = bootstrap.store, bootstrap.changes
    error = shortened(plain(changes.trouble), MOST_ERROR)
    return WatchedStateStore(store.kind, store.name, changes.troubled_for(), error)
