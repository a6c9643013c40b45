"""The service that twistd runs: what a daemon serves, with its signals and its log around it.

Rules:

- signals are handled before anything is opened, so that none ends a start halfway;
- the log takes the place of twistd's own by the interface that Twisted has for it, a component of the application;
- systemd hears that the daemon is ready once the reactor runs and it listens, and that it stops before it drains.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.security.file_change import Reload
from pyshard.server.daemon_log import IDaemonLog
from pyshard.server.described_service import DescribedService
from pyshard.server.signals_and_exit import DaemonReactor, DaemonSignals
from pyshard.server.systemd_notify import SystemdNotifier


class DaemonService(MultiService):
    """A daemon.

    :param reactor: the one that twistd runs.
    :param serving: what it serves.
    :param log: its log; None: twistd logs by itself.
    :param reloads: read tokens and certificates again.
    :param notifier: tells systemd how the daemon fares; None: it doesn't want to know.
    """

    def __init__(
        self,
        reactor: DaemonReactor,
        serving: DescribedService,
        log: IDaemonLog | None,
        reloads: Sequence[Reload],
        notifier: SystemdNotifier | None = None,
    ) -> None:
        super().__init__()
        self.serving = serving
        self._reactor = reactor
        self._notifier = notifier
        self._log_file = log
        self._reloads = reloads
        self._signals = DaemonSignals(reactor, self.reload, self.rotate)
        serving.setServiceParent(self)

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Take a place in an application, whose log goes into the log file from now on."""
        if self._log_file is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_file.observer(self.serving.log_fields))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        self._signals.install()
        super().privilegedStartService()

    def startService(self) -> None:
        COLLECTOR_TIME.begin()
        super().startService()
        notifier, serving = self._notifier, self.serving
        if notifier is not None:
            # In the reactor's first turn: then its signals are handled.
            serving.when_listening().addCallback(
                lambda _: self._reactor.callWhenRunning(lambda: notifier.ready(serving.status))
            )

    def stopService(self) -> Deferred[object]:
        COLLECTOR_TIME.end()
        notifier = self._notifier
        if notifier is None:
            return maybeDeferred(super().stopService)
        notifier.stopping()
        return maybeDeferred(super().stopService).addBoth(self._stopped, notifier)

    def _stopped(self, outcome: object, notifier: SystemdNotifier) -> object:
        notifier.close()
        return outcome

    def reload(self) -> None:
        """Open the log file again, and read tokens and certificates again."""
        if self._log_file is not None:
            self._log_file.reopen()
        for reload in self._reloads:
            reload()

    def rotate(self) -> None:
        """Put the log file aside."""
        if self._log_file is not None:
            self._log_file.rotate()
