"""The service that twistd runs: what a daemon serves, with its signals and its log around it.

Rules:

- signals are handled before anything is opened, so that none ends a start halfway;
- the log file takes the place of twistd's own by the interface that Twisted has for it, a component of the application.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.application.service import IServiceCollection, MultiService, Service
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from pyshard.security.file_change import Reload
from pyshard.server.rotated_log_file import DaemonLog
from pyshard.server.signals_and_exit import DaemonReactor, DaemonSignals


class DaemonService(MultiService):
    """A daemon.

    :param reactor: the one that twistd runs.
    :param serving: what it serves.
    :param log: its log file; None: twistd logs elsewhere.
    :param reloads: read tokens and certificates again.
    """

    def __init__(
        self, reactor: DaemonReactor, serving: Service, log: DaemonLog | None, reloads: Sequence[Reload]
    ) -> None:
        super().__init__()
        self.serving = serving
        self._log_file = log
        self._reloads = reloads
        self._signals = DaemonSignals(reactor, self.reload, self.rotate)
        serving.setServiceParent(self)

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Take a place in an application, whose log goes into the log file from now on."""
        if self._log_file is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_file.observer())
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        self._signals.install()
        super().privilegedStartService()

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
