"""Loading modules without a look for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyshard.cli.module_loading import loaded_module, loading_modules


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """What a test spares the garbage collector is given back to it."""
    frozen = gc.get_freeze_count()
    yield
    if not frozen:
        gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("enabled", [True, False])
def test_within_and_behind(enabled: bool) -> None:
    """Nothing is looked for within; behind it all is as it was, and what is there is spared."""
    (gc.enable if enabled else gc.disable)()
    made: list[list[object]] = [[]]
    with loading_modules():
        assert not gc.isenabled()
    assert gc.isenabled() is enabled
    assert not any(one is made for one in gc.get_objects())


def test_behind_an_error() -> None:
    """What can't be loaded leaves the collector as it was."""
    with pytest.raises(ModuleNotFoundError):
        loaded_module("pyshard.no_such_module")
    assert gc.isenabled()


def test_only_what_is_new_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new module is loaded that way. One that is there costs nothing, and spares no garbage from being freed."""
    (tmp_path / "a_module_of_this_test.py").write_text("import gc\nenabled = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = loaded_module("a_module_of_this_test")
    assert (found.enabled, gc.isenabled()) == (False, True)
    gc.unfreeze()
    assert loaded_module("a_module_of_this_test") is found
    assert gc.get_freeze_count() == 0
    del sys.modules["a_module_of_this_test"]
    assert loaded_module("a_module_of_this_test") is not found
