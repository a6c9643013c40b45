"""How the command loads its modules: without a look for garbage, as twistd loads the daemons (twisted/plugins).

Modules are there to stay. To go through them again and again took a tenth of the time of a short command.

Rule: what is garbage by then is never freed, so a module that is loaded already is only looked up.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


@contextmanager
def loading_modules() -> Iterator[None]:
    """Look for no garbage while the context lasts; later looks pass over what is there at its end."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collected:
            gc.enable()


def loaded_module(name: str) -> ModuleType:
    """The module of a name, which is loaded now unless it was before."""
    if name in sys.modules:
        return sys.modules[name]
    with loading_modules():
        return import_module(name)
