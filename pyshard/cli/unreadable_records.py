"""Records that can't be read, as the command tells of them: on standard error, and with an exit code of their own."""

from __future__ import annotations

from base64 import b64encode

from pyshard.cli.exit_codes import CommandFailed, ExitCode
from pyshard.cli.standard_output import put, tell
from pyshard.errors import UnreadableRecord

_SHOWN = 10  # lines on standard error


def put_removed(error: UnreadableRecord) -> None:
    """Print a record that was removed and can't be read, as it is nowhere else any more: one line of JSON."""
    put(f'{{"$record": "{b64encode(error.record).decode()}"}}')


class UnreadableCount:
    """Counts the records that can't be read, and says why, of the first of them.

    :ivar count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, why: str) -> None:
        """Count one.

        :param why: key and reason.
        """
        self.count += 1
        if self.count <= _SHOWN:
            tell(why)

    def end(self, rest: str) -> None:
        """End the command if there was any.

        :param rest: what became of the others, such as "the others were written".
        :raises CommandFailed: with the exit code for it.
        """
        if self.count:
            records = f"{self.count:,} record{'' if self.count == 1 else 's'}"
            raise CommandFailed(f"{records} can't be read; {rest}", ExitCode.UNREADABLE)
