"""The message of a bulk verb's error: how many keys, where, why, and whether they may be asked again."""

from __future__ import annotations

import pytest

import pyshard.client_core.partial_failure as partial_failure_module
from pyshard.client_core.operation_errors import in_doubt, not_sent, refused_by, too_late
from pyshard.client_core.partial_failure import partial_failure
from pyshard.errors import (
    DocumentTooLarge,
    IndexNotFound,
    InvalidDocument,
    InvalidKey,
    NotANumber,
    Overloaded,
    PyshardError,
    ShardFull,
    UnreadableRecord,
)

B = "shard 'b2' at 127.0.0.1:5051"
C = "shard 'c3' at 127.0.0.1:5052"
AWAY = too_late("bulk write", B, "connection refused")


def full(free: int) -> PyshardError:
    """What a shard that is full refuses."""
    return refused_by(C, ShardFull(f"the shard holds {1000 - free:,} of 1,000 bytes and this write needs {free} more"))


def message(*outcomes: object) -> str:
    """The message for the outcomes of some keys."""
    return str(partial_failure([(f"secret{number}", outcome) for number, outcome in enumerate(outcomes)]))


def test_a_shard_that_is_away_and_one_that_is_full() -> None:
    """Each shard is told once, with its keys, its reason, and what to do."""
    found = message(True, *[AWAY] * 3, full(20), full(9), *[True] * 4000)
    assert found == (
        "5 of 4,006 keys failed: "
        "3 with Unavailable (may be asked again later): bulk write: shard 'b2' at 127.0.0.1:5051 could not answer "
        "before the deadline: connection refused; is it running, at this address? "
        "Start it as before: 'twistd pyshard-shard', with its --data-dir if it had one; "
        "2 with ShardFull (not to be asked again as it is): shard 'c3' at 127.0.0.1:5052: the shard holds 980 of 1,000 "
        "bytes and this write needs 20 more; "
        "the error's 'failed' has each"
    )


def test_the_reason_stands_before_what_follows_from_it() -> None:
    """However many keys weren't sent to a shard, first it is said why it is away."""
    found = message(*[not_sent("b2")] * 9, AWAY, in_doubt("bulk write", B, "the connection was lost"))
    reasons = ["could not answer before", "may have happened: look first", "it was not sent"]
    places = [found.index(reason) for reason in reasons]
    assert places == sorted(places)


def test_two_shards_are_two_reasons() -> None:
    """Figures are no part of a name: shards that differ in one are told apart."""
    others = [too_late("bulk write", f"shard 's{number}' at 10.0.0.{number}:5050", "x") for number in range(2)]
    assert [f"shard 's{number}' at 10.0.0.{number}:5050" in message(*others) for number in range(2)] == [True, True]


def test_it_is_short() -> None:
    """However many reasons there are, and however long they are, the message is a line that can be read."""
    others = [IndexNotFound(f"there is no index 'a{number}{'x' * 5000}'") for number in range(50)]
    found = message(*others)
    assert len(found) < 1300
    assert "; 47 with other errors; " in found


def test_long_reasons_that_begin_alike() -> None:
    """They are one: no more of a reason is looked at than is told, as a shard may have worded each by itself."""
    assert message(*[Overloaded("x" * 300 + str(number)) for number in range(2)]).startswith(
        "2 of 2 keys failed: 2 with Overloaded"
    )


def test_as_many_texts_as_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile shard may have given another one for each key: some are compared, and all are counted."""
    compared: list[str] = []

    class Figures:
        def sub(self, _: str, text: str) -> str:
            compared.append(text)
            return text

    monkeypatch.setattr(partial_failure_module, "_FIGURE", Figures())
    found = message(*[IndexNotFound(f"there is no index 'a{number}'") for number in range(3000)])
    assert len(compared) == 1000
    assert found.startswith("3,000 of 3,000 keys failed: 1 with IndexNotFound ")
    assert "; 2,997 with other errors; " in found


@pytest.mark.parametrize("kind", [DocumentTooLarge, InvalidDocument, InvalidKey, NotANumber, UnreadableRecord])
def test_no_key_and_no_document(kind: type[PyshardError]) -> None:
    """What an error says of one key or its document stays with that key."""
    found = message(kind("key 'secret0': document['secret']: found 'secret'"), AWAY)
    assert "secret" not in found
    assert f"1 with {kind.__name__} (not to be asked again as it is); " in found
