"""What a daemon serves, as the parts around it see it: they ask what it is, how it fares, and when it listens."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from pyshard.server.listener import Listener


class DescribedService(MultiService):
    """A service that tells of itself.

    :ivar listener: listens for it.
    """

    listener: Listener

    def when_listening(self) -> Deferred[None]:
        """A Deferred that fires when it listens, or at once if it does."""
        return self.listener.when_listening()

    def log_fields(self) -> Mapping[str, str]:
        """What each line of the daemon's log has as fields, where it is one of JSON. Any thread may ask."""
        return {}

    def status(self) -> str:
        """How the daemon fares, in one line for whoever runs it; without keys and documents."""
        return ""
