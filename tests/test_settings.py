"""The defaults: the original pyshard's values, and limits that fit each other."""

from __future__ import annotations

import attrs
import pytest

from pyshard.settings import Settings, settings


def test_defaults_of_the_original() -> None:
    """The bootstrap and the deadline are where README and design say."""
    assert settings.BOOTSTRAP_SERVER == ["localhost", 9192]
    assert settings.SHARD_PORT == 5050
    assert settings.DEADLINE == 10.0


def test_frozen() -> None:
    """Nobody changes a default for everybody else."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        settings.DEADLINE = 1.0  # type: ignore[misc]


def test_instances_share_nothing() -> None:
    """A changed list of one instance is not seen in another."""
    changed = Settings()
    changed.BOOTSTRAP_SERVER[0] = "elsewhere"
    assert Settings().BOOTSTRAP_SERVER == ["localhost", 9192]


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Settings) if field.name != "BOOTSTRAP_SERVER"])
def test_numbers_are_positive(name: str) -> None:
    """Every limit and time allows something."""
    assert getattr(settings, name) > 0


def test_times_fit() -> None:
    """One attempt fits into an operation, and back-off grows within one attempt's time."""
    assert settings.RETRY_FIRST <= settings.RETRY_LONGEST < settings.TIMEOUT < settings.DEADLINE


def test_box_holds_the_largest_document() -> None:
    """One box carries the largest document, with its key, behind an answer that was almost full."""
    assert settings.ANSWER_BYTES + settings.MAX_DOCUMENT_BYTES + settings.MAX_KEY_BYTES < settings.MAX_BOX_BYTES


def test_box_has_keys_for_all_its_bytes() -> None:
    """AMP puts at most 65,535 bytes under one key: a full box needs no more keys than a box may have."""
    assert settings.MAX_BOX_KEYS > settings.MAX_BOX_BYTES / 65_535


def test_client_keeps_the_shards_limits() -> None:
    """What a client puts into one box is within what a shard takes."""
    assert settings.BOX_OPERATIONS <= settings.MAX_BATCH
    assert settings.BOX_OPERATIONS <= settings.MAX_RUNS
    assert settings.BOX_OPERATIONS <= settings.MAX_WAITING
    assert settings.BOX_BYTES + settings.MAX_DOCUMENT_BYTES + settings.MAX_KEY_BYTES < settings.MAX_BOX_BYTES
    assert settings.BOX_BYTES + settings.MAX_KEY_BYTES <= settings.BATCH_KEY_BYTES
    assert settings.BOX_BYTES * settings.BOXES_IN_FLIGHT <= settings.MAX_WAITING_BYTES


def test_boxes_of_one_connection() -> None:
    """What a client keeps in flight is taken up at once, and so is any single box."""
    assert settings.BOXES_IN_FLIGHT < settings.BOXES_UNDER_WAY
    assert settings.MAX_BOX_BYTES < settings.BYTES_UNDER_WAY


def test_what_is_held_has_room_for_a_few() -> None:
    """Who sends the largest boxes, and reads the largest answers, isn't cut off for it unless many do at once."""
    assert settings.HELD_BYTES > 20 * (settings.MAX_BOX_BYTES + settings.BYTES_UNDER_WAY / 2)


def test_page_has_room_for_a_key() -> None:
    """A page of keys holds at least one key of the largest size."""
    assert settings.MAX_KEY_BYTES <= settings.PAGE_BYTES <= settings.MAX_BOX_BYTES
