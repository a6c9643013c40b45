"""Many shards: how many pages are on their way at the same time, and whose is next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusters import keys_on
from twisted.internet.defer import Deferred

from pyshard.backup import taking, verify
from pyshard.backup.taking import backup
from pyshard.client.backup_client import BackupShard
from pyshard.protocol import commands
from pyshard.settings import settings
from pyshard.testing import MemoryCluster


def test_a_few_pages_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shards there are; each has its first page read before any has its second one."""
    under_way: list[str] = []
    most = 0
    asked: list[str] = []
    call = BackupShard.call

    def counted(self: BackupShard, command: Any, seconds: float, **arguments: Any) -> Deferred[dict[str, Any]]:
        nonlocal most
        answer = call(self, command, seconds, **arguments)
        if command is commands.ReadSnapshot:
            asked.append(self.name)
            under_way.append(self.name)
            most = max(most, len(under_way))

            def ended(found: dict[str, Any]) -> dict[str, Any]:
                under_way.remove(self.name)
                return found

            answer.addCallback(ended)
        return answer

    monkeypatch.setattr(BackupShard, "call", counted)
    monkeypatch.setattr(taking, "_AT_ONCE", 2)
    with MemoryCluster(5) as cluster:
        client = cluster.connect()
        large = "x" * settings.SNAPSHOT_BYTES
        for name in cluster.names:
            cluster.run(client.write_many([(key, large) for key in keys_on(cluster, name, 2)]))
        made = cluster.run(backup(client, tmp_path / "backup"))
    assert most == 2
    assert sorted(asked[:5]) == sorted(asked[5:10]) == cluster.names
    assert sum(entry.documents for entry in made.files) == 10
    assert verify(tmp_path / "backup").documents == 10
