"""The verbs have one signature, that of `Client`; the faces beside it follow from it.

The signatures are written out in each face, since help texts and editors show what is written. This test says them
once: what `Client` has, without its index on a handle of one index, and with the result itself in a blocking face.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest

from pyshard import BlockingIndex, Client, Index, Pyshard

#: Verbs on keys, which every face has.
VERBS = [
    "write", "read", "item", "pop", "remove", "touch", "increment", "has",
    "write_many", "read_many", "pop_many", "remove_many", "has_many", "keys",
]  # fmt: skip

#: Verbs on the cluster as a whole, which the two clients have.
CLUSTER_VERBS = ["create_index", "drop_index", "indexes", "stat", "readiness"]


def parameters(function: Callable[..., object]) -> list[tuple[str, object, object, str]]:
    """Name, kind, default and annotation of each parameter but ``self``."""
    found = list(inspect.signature(function).parameters.values())[1:]
    return [(parameter.name, parameter.kind, parameter.default, str(parameter.annotation)) for parameter in found]


def without_index(found: list[tuple[str, object, object, str]]) -> list[tuple[str, object, object, str]]:
    """The parameters of a verb on a handle, which knows its index."""
    return [parameter for parameter in found if parameter[0] != "index"]


def result(function: Callable[..., object]) -> str:
    """What a function returns; what a Deferred is of, and what a blocking iterator gives, counts as the same."""
    annotation = str(inspect.signature(function).return_annotation)
    inner = re.fullmatch(r"Deferred\[(.*)\]", annotation)
    return inner[1] if inner else {"KeyPages": "Iterator[str]"}.get(annotation, annotation)


@pytest.mark.parametrize("verb", VERBS)
def test_index(verb: str) -> None:
    """A handle on an index has `Client`'s verbs without the index, and the same results."""
    client, index = getattr(Client, verb), getattr(Index, verb)
    assert parameters(index) == without_index(parameters(client))
    assert result(index) == result(client)


@pytest.mark.parametrize("verb", [*VERBS, *CLUSTER_VERBS])
def test_blocking_client(verb: str) -> None:
    """The blocking client has `Client`'s verbs, and gives what their Deferreds do."""
    client, blocking = getattr(Client, verb), getattr(Pyshard, verb)
    assert parameters(blocking) == parameters(client)
    assert result(blocking) == result(client)


@pytest.mark.parametrize("verb", VERBS)
def test_blocking_index(verb: str) -> None:
    """The blocking handle has the blocking client's verbs without the index."""
    blocking, index = getattr(Pyshard, verb), getattr(BlockingIndex, verb)
    assert parameters(index) == without_index(parameters(blocking))
    assert result(index) == result(blocking)


@pytest.mark.parametrize("handle", [Index, BlockingIndex])
def test_verbs_on_the_index_itself(handle: type) -> None:
    """Creating and dropping take what the client's verbs take, without the name."""
    for short, verb in {"create": "create_index", "drop": "drop_index"}.items():
        assert parameters(getattr(handle, short)) == parameters(getattr(Client, verb))[1:]


def test_every_verb_is_listed() -> None:
    """The lists above have every public method of `Client` but those that make, find or end something."""
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public - {"index", "close"} == {*VERBS, *CLUSTER_VERBS}
