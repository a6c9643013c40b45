"""What messages say to do about a daemon that gives no answer: the reason and the daemon decide."""

from __future__ import annotations

import re

import pytest
from blocks import CHECKOUT

from pyshard.client_core.combined_error import error_of_all
from pyshard.client_core.unreached_daemon import no_answer, parted, with_cure

START_BOOTSTRAP = "is it running, at this address? 'twistd pyshard-bootstrap --config FILE' starts a bootstrap"
START_SHARD = (
    "is it running, at this address? Start it as before: 'twistd pyshard-shard', with its --data-dir if it had one"
)
NETWORK = "is its machine up, is the address right, and does a firewall drop what is sent there?"


NAME = "correct the host's name, or give an address"
BUSY = "it may be stopped or very busy: its log and 'pyshard doctor' say more"


@pytest.mark.parametrize("cure", [START_BOOTSTRAP, START_SHARD, NETWORK, NAME, BUSY])
def test_each_cure_is_explained(cure: str) -> None:
    """docs/troubleshooting.md says more of what each of them asks."""
    page = (CHECKOUT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    quoted = [text for text in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) if cure.endswith(text)]
    assert len(quoted) == 1


@pytest.mark.parametrize(
    ("peer", "why", "cure"),
    [
        ("the bootstrap at shard:9192", "connection refused", START_BOOTSTRAP),
        ("127.0.0.1:9192", "connection refused", START_BOOTSTRAP),
        ("shard 'a' at h:1", "connection refused", START_SHARD),
        ("the shard at h:1", "connection refused", START_SHARD),
        ("the replica of shard 'a' at h:1", "connection refused", START_SHARD),
        ("the bootstrap at h:1", "no connection and no word of a pyshard daemon within 2.5 s", NETWORK),
        ("the bootstrap at h:1", "Connection timed out", NETWORK),
        ("the bootstrap at h:1", "No route to host", NETWORK),
        ("the bootstrap at h:1", "Network is unreachable", NETWORK),
        ("the bootstrap at h:1", "not reached yet", NETWORK),
        ("the bootstrap at h:1", "'h' has no address (x)", NAME),
        ("the bootstrap at h:1", "DNS lookup failed: no results", NAME),
        ("shard 'a' at h:1", "it is connected and silent", BUSY),
        ("the bootstrap at h:1", "the connection was closed before any answer; perhaps the peer speaks TLS", ""),
    ],
)
def test_the_reason_decides(peer: str, why: str, cure: str) -> None:
    """The cure stands at the end of the message; a reason that has one of its own gets none."""
    found = with_cure(f"{peer}: {why}", peer, why)
    assert found == f"{peer}: {why}" + (f"; {cure}" if cure else "")
    assert parted(found) == (f"{peer}: {why}", cure)


def test_several_addresses_have_the_cure_once() -> None:
    """Each address has its own reason; what to do is said once, at the end."""
    peers = ["10.0.0.1:9192", "10.0.0.2:9192"]
    found = str(error_of_all([no_answer(peer, 2, "connection refused") for peer in peers]))
    assert found == (
        "10.0.0.1:9192 gave no answer within 2 s: connection refused; "
        f"10.0.0.2:9192 gave no answer within 2 s: connection refused; {START_BOOTSTRAP}"
    )
