"""The public names, and that the faces of one API (Client, Pyshard, AioClient and their indexes) agree."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import ModuleType
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import pyshard
import pyshard.aio
import pyshard.aio.typed_index
import pyshard.blocking
import pyshard.blocking.typed_index
import pyshard.client
import pyshard.client.typed_index
import pyshard.storage
import pyshard.testing
from pyshard import BlockingIndex, BlockingTypedIndex, Client, Index, KeyPages, Pyshard, TypedIndex
from pyshard.aio import AioClient, AioIndex, AioTypedIndex
from pyshard.client import Item, Pairs, Record, TypedItem, TypedPairs, TypedRecord
from pyshard.client.item_pages import ItemPages
from pyshard.client.typed_item_pages import TypedItemPages
from pyshard.client_core.everyday_verbs import Missing
from pyshard.model.document_encoding import Storable


def methods(cls: type) -> dict[str, Callable[..., Any]]:
    """A class's public methods, inherited ones included."""
    return {name: method for name, method in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A method's parameters without `self`, with the types that the annotations mean."""
    hints = typing.get_type_hints(function)
    found = list(inspect.signature(function).parameters.values())[1:]
    return [one.replace(annotation=hints[one.name]) for one in found]


def answer(function: Callable[..., Any]) -> Any:
    """What a method returns, or what its Deferred or future has (`Steps`: under ``@inlineCallbacks``)."""
    found = typing.get_type_hints(function)["return"]
    if typing.get_origin(found) in (Deferred, Generator, asyncio.Future):
        found = typing.get_args(found)[-1]
    if {Index, BlockingIndex, AioIndex} & set(typing.get_args(found)):
        return "a handle, or one with a type"
    if found is ItemPages or typing.get_origin(found) is TypedItemPages:
        return "pairs of a key and a document"
    if typing.get_origin((typing.get_args(found) or (None,))[0]) is tuple:
        return "pairs of a key and a document"
    blocking: dict[Any, Any] = {
        KeyPages: Iterator[str],
        AsyncIterator[str]: Iterator[str],
        None: type(None),
    }
    return blocking.get(found, found)


def test_the_public_names() -> None:
    """What `pyshard` offers is this; adding to it is a decision, taking away breaks programs."""
    assert pyshard.__all__ == [
        "BlockingIndex",
        "BlockingTypedIndex",
        "Client",
        "Document",
        "Index",
        "Item",
        "Key",
        "KeyPages",
        "Pyshard",
        "PyshardError",
        "Record",
        "Storable",
        "Tls",
        "TypedIndex",
        "TypedItem",
        "TypedRecord",
        "__version__",
        "connect",
    ]


@pytest.mark.parametrize(
    "module",
    [pyshard, pyshard.aio, pyshard.blocking, pyshard.client, pyshard.storage, pyshard.testing],
    ids=lambda one: one.__name__,
)
def test_every_name_that_is_offered_is_there(module: ModuleType) -> None:
    """Each name of an `__all__` can be imported, and stands there once."""
    names = list(module.__all__)
    assert all(hasattr(module, name) for name in names)
    assert len(names) == len(set(names))


def test_the_verbs() -> None:
    """The verbs of all clients and of all indexes."""
    verbs = {"write", "read", "item", "pop", "remove", "touch", "increment", "has", "keys"} | {
        f"{verb}_many" for verb in ("write", "read", "pop", "remove", "has", "get", "add")
    }
    verbs |= {"get", "items", "add", "replace", "update", "count", "clear", "locate"}
    cluster = {"create_index", "drop_index", "indexes", "index", "stat", "readiness", "close"}
    assert set(methods(Client)) == set(methods(AioClient)) == verbs | cluster
    assert set(methods(Pyshard)) == verbs | cluster
    assert set(methods(Index)) == set(methods(BlockingIndex)) == set(methods(AioIndex)) == verbs | {"create", "drop"}


@pytest.mark.parametrize("cls", [Pyshard, AioClient])
@pytest.mark.parametrize("verb", sorted(methods(Client)))
def test_the_other_clients_have_the_same_signatures(verb: str, cls: type) -> None:
    """Each verb takes what `Client`'s takes and returns, or its future has, what that one's Deferred fires with."""
    theirs, ours = methods(Client)[verb], methods(cls)[verb]
    assert parameters(ours) == parameters(theirs)
    assert answer(ours) == answer(theirs)


@pytest.mark.parametrize("cls", [BlockingIndex, AioIndex])
@pytest.mark.parametrize("verb", sorted(methods(Index)))
def test_the_other_indexes_have_the_same_signatures(verb: str, cls: type) -> None:
    """Each verb takes what `Index`'s takes and returns, or its future has, what that one's Deferred fires with."""
    theirs, ours = methods(Index)[verb], methods(cls)[verb]
    assert parameters(ours) == parameters(theirs)
    assert answer(ours) == answer(theirs)


@pytest.mark.parametrize(
    ("cls", "app"),
    [(Index, Client), (BlockingIndex, Pyshard), (AioIndex, AioClient)],
    ids=["Index", "BlockingIndex", "AioIndex"],
)
def test_an_index_has_its_clients_signatures(cls: type, app: type) -> None:
    """A handle's verbs are those of its client without the index, which it fills in."""
    for verb, ours in methods(cls).items():
        name = {"create": "create_index", "drop": "drop_index"}.get(verb, verb)
        theirs = methods(app)[name]
        assert parameters(ours) == [one for one in parameters(theirs) if one.name not in ("index", "name")], verb
        assert answer(ours) == answer(theirs), verb


def typed(of: Any, verb: str) -> dict[Any, Any]:
    """What a verb of an index with a type takes and gives in place of what that of one without does.

    :param of: the documents' type where the class is declared.
    """
    always: dict[Any, Any] = {
        Storable: of,
        Pairs: typing.cast(Any, TypedPairs)[of],
        Record | None: TypedRecord[of] | None,
        Item | None: TypedItem[of] | None,
        list[Record | None]: list[TypedRecord[of] | None],
        Callable[[Any], Storable]: Callable[[of], of],
    }
    return always | ({object: of | Missing, Any: of | None} if verb == "update" else {})


#: Each index with a type, the index without, and the documents' type where the first is declared.
TYPED: list[tuple[type, type, Any]] = [
    (TypedIndex, Index, pyshard.client.typed_index._T),
    (BlockingTypedIndex, BlockingIndex, pyshard.blocking.typed_index._T),
    (AioTypedIndex, AioIndex, pyshard.aio.typed_index._T),
]


@pytest.mark.parametrize(("cls", "untyped", "of"), TYPED, ids=[cls.__name__ for cls, _, _ in TYPED])
@pytest.mark.parametrize("verb", sorted(methods(Index)))
def test_an_index_with_a_type_has_the_same_signatures(verb: str, cls: type, untyped: type, of: Any) -> None:
    """Each verb takes and gives what that of the index without a type does, with the type in place of documents."""
    if verb == "increment":
        assert verb not in methods(cls)
        return
    theirs, ours = methods(untyped)[verb], methods(cls)[verb]
    change = typed(of, verb)
    expected = [one.replace(annotation=change.get(one.annotation, one.annotation)) for one in parameters(theirs)]
    assert parameters(ours) == [one for one in expected if one.name != "type"]
    assert answer(ours) == change.get(answer(theirs), answer(theirs))


@pytest.mark.parametrize(("cls", "untyped", "of"), TYPED, ids=[cls.__name__ for cls, _, _ in TYPED])
def test_an_index_with_a_type_has_no_other_verbs(cls: type, untyped: type, of: Any) -> None:
    """An index with a type has no verb that the one without lacks."""
    assert methods(cls).keys() <= methods(untyped).keys()


@pytest.mark.parametrize(
    "cls", [Client, Pyshard, AioClient, Index, BlockingIndex, AioIndex, *(cls for cls, _, _ in TYPED)]
)
def test_options_are_given_by_name(cls: type) -> None:
    """What a verb is about may be given by position; every option stands behind the asterisk."""
    own = {"touch": {"ttl"}, "increment": {"by", "initial"}, "update": {"function"}}
    for verb, function in methods(cls).items():
        by_place = [one.name for one in parameters(function) if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert set(by_place) <= {"key", "keys", "pairs", "doc", "default", "index", "name"} | own.get(verb, set()), verb


@pytest.mark.parametrize("verb", sorted(methods(Index)))
def test_faces_say_the_same_of_a_verb(verb: str) -> None:
    """What a docstring says of a verb in short, such as what `clear` counts, is the same wherever it is said."""
    found = [
        getattr(getattr(cls, verb, None), "__doc__", None)
        for cls in (Index, AioClient, AioIndex, Pyshard, BlockingIndex)
    ]
    said = {text.partition(" See `")[0] for text in found if text is not None and not text.startswith("See `")}
    assert len(said) <= 1


def test_asyncio_connects_by_the_same() -> None:
    """`pyshard.aio.connect` takes what `pyshard.connect` does, but for what only Twisted's programs have."""
    ours, theirs = inspect.signature(pyshard.aio.connect).parameters, inspect.signature(pyshard.connect).parameters
    hints, others = typing.get_type_hints(pyshard.aio.connect), typing.get_type_hints(pyshard.connect)
    assert list(ours) == [name for name in theirs if name not in ("reactor", "dial", "random")]
    for name in ours:
        assert (hints[name], ours[name].default) == (others[name], theirs[name].default)


def test_both_ways_to_connect_take_the_same() -> None:
    """`connect` and `Pyshard` share all but what only Twisted's programs have, with the same defaults."""
    connecting = typing.get_type_hints(pyshard.connect), inspect.signature(pyshard.connect).parameters
    making = typing.get_type_hints(Pyshard.__init__), inspect.signature(Pyshard).parameters
    for name in ("bootstrap_server", "deadline", "token_file", "tls", "index", "addresses"):
        assert connecting[0][name] == making[0][name]
        assert connecting[1][name].default == making[1][name].default
