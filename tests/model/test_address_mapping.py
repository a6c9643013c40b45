"""Where shards are dialed in place of where the map says, by value."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import ConfigError
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping, mapping_by, mapping_in, mapping_of

INSIDE, OUTSIDE = ("10.0.0.5", 5050), ("db.example.com", 15050)
MAPPING = AddressMapping(((INSIDE, OUTSIDE),))


@pytest.mark.parametrize(
    ("announced", "dialed"),
    [
        (INSIDE, OUTSIDE),
        (("10.0.0.5", 5051), ("10.0.0.5", 5051)),  # another port
        (("10.0.0.6", 5050), ("10.0.0.6", 5050)),  # another host
        (OUTSIDE, OUTSIDE),
        (("shard0", 5050), ("192.0.2.1", 1)),
        (("SHARD0", 5050), ("192.0.2.1", 1)),
        (("::1", 5050), ("fe80::1", 2)),
        (("0:0:0::1", 5050), ("fe80::1", 2)),
    ],
)
def test_dialed(announced: tuple[str, int], dialed: tuple[str, int]) -> None:
    """An announced address leads where the mapping says, however it is spelled; any other leads to itself."""
    given = {"10.0.0.5:5050": "db.example.com:15050", "Shard0:5050": "192.0.2.1:1", "[::1]:5050": "[fe80::1]:2"}
    assert mapping_of(given).dialed(*announced) == dialed
    assert AS_ANNOUNCED.dialed(*announced) == announced


def test_it_is_gone_through_once() -> None:
    """What an address leads to isn't looked up again, so that two addresses can be exchanged."""
    mapping = mapping_of({"a:1": "b:1", "b:1": "a:1"})
    assert [mapping.dialed("a", 1), mapping.dialed("b", 1)] == [("b", 1), ("a", 1)]


def test_two_addresses_may_lead_to_one() -> None:
    """A shard that is about to move has an old and a new address, and stays where it is for those outside."""
    mapping = mapping_of({"10.0.0.5:5050": "db:15050", "10.0.0.6:5050": "db:15050"})
    assert mapping.dialed("10.0.0.5", 5050) == mapping.dialed("10.0.0.6", 5050) == ("db", 15050)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (INSIDE, "10.0.0.5:5050 (dialed at db.example.com:15050)"),
        (OUTSIDE, "db.example.com:15050"),
        (("::1", 1), "[::1]:1"),
    ],
)
def test_shown(address: tuple[str, int], shown: str) -> None:
    """Messages name both addresses where they differ, and one where they don't."""
    assert MAPPING.shown(*address) == shown


@pytest.mark.parametrize(
    "text",
    ["10.0.0.5:5050=db.example.com:15050", " 10.0.0.5:5050 = db.example.com:15050 "],
)
def test_in_all_forms(text: str) -> None:
    """A program's mapping, pairs in text and the environment say the same."""
    assert mapping_of({"10.0.0.5:5050": "db.example.com:15050"}) == MAPPING
    assert mapping_of(MappingProxyType({"10.0.0.5:5050": "db.example.com:15050"})) == MAPPING
    assert mapping_in([text], "--address") == MAPPING
    assert mapping_by({"PYSHARD_ADDRESSES": text}) == MAPPING
    assert mapping_by({"PYSHARD_ADDRESSES": f"{text},a:1=b:1"}) == mapping_in(["a:1=b:1", text])
    assert mapping_by({}) == mapping_by({"PYSHARD_ADDRESSES": " "}) == mapping_of({}) == AS_ANNOUNCED


TWICE = "expected each shard's address once, and what to dial"
FORM = "expected HOST:PORT with a port from 1 to 65535, an IPv6 address in brackets"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "10.0.0.5:5050",
            "found '10.0.0.5:5050', expected a dict of shards' addresses and what to dial for each, such as",
        ),
        ([("a:1", "b:1")], "found [('a:1', 'b:1')], expected a dict"),
        (7, "found 7, expected a dict"),
        ({"10.0.0.5": "b:1"}, f"found '10.0.0.5', {FORM}"),
        ({"a:1": "b"}, f"found 'b', {FORM}"),
        ({"a:1": ""}, f"found '', {FORM}"),
        ({"a:1": "b:0"}, f"found 'b:0', {FORM}"),
        ({"a:1": "b:65536"}, f"found 'b:65536', {FORM}"),
        ({"a:1": "b:-1"}, f"found 'b:-1', {FORM}"),
        ({"a:1": "b:x"}, f"found 'b:x', {FORM}"),
        ({"a:1": "::1:5050"}, f"found '::1:5050', {FORM}"),
        ({"a:1": "[b]:1"}, f"found '[b]:1', {FORM}"),
        ({"a:1": "[10.0.0.5]:1"}, f"found '[10.0.0.5]:1', {FORM}"),
        ({"a:1": "tls:b:1"}, f"found 'tls:b:1', {FORM}"),
        ({"a:1": "http://b:1"}, f"found 'http://b:1', {FORM}"),
        ({"a:1": "b c:1"}, f"found 'b c:1', {FORM}"),
        ({"a:1": "b,c:1"}, f"found 'b,c:1', {FORM}"),
        ({"a:1": ("b", 1)}, f"found ('b', 1), {FORM}"),
        ({("a", 1): "b:1"}, f"found ('a', 1), {FORM}"),
        ({b"a:1": "b:1"}, f"found b'a:1', {FORM}"),
        ({"a:1": None}, f"found None, {FORM}"),
        ({"a:1": "b:1", "A:1": "c:1"}, f"found 'a:1' twice, {TWICE}"),
        ({"[::1]:1": "b:1", "[0::1]:1": "b:1"}, f"found '[::1]:1' twice, {TWICE}"),
    ],
)
def test_refused(given: Any, message: str) -> None:
    """What a program gives and can't be used is refused in one line: what was found, what was expected."""
    with pytest.raises(ConfigError) as refused:
        mapping_of(given)
    assert str(refused.value).startswith(f"addresses: {message}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([""], "found '', expected ANNOUNCED=DIALED, such as 10.0.0.5:5050=db.example.com:15050"),
        (["a:1"], "found 'a:1', expected ANNOUNCED=DIALED"),
        (["a:1=b:1", "a:1=c:1"], f"found 'a:1' twice, {TWICE}"),
        (["a:1=b:1", "a:1=b:1"], f"found 'a:1' twice, {TWICE}"),
        (["a:1=b:1=c:1"], f"found 'b:1=c:1', {FORM}"),
        (["a:1=b:99999"], f"found 'b:99999', {FORM}"),
        (["=b:1"], f"found '', {FORM}"),
        (["a:1="], f"found '', {FORM}"),
    ],
)
def test_refused_in_text(texts: list[str], message: str) -> None:
    """Pairs in text are refused in the same way, and the message says where they stand."""
    for where in ("--address", "PYSHARD_ADDRESSES"):
        with pytest.raises(ConfigError) as refused:
            mapping_in(texts, where)
        assert str(refused.value).startswith(f"{where}: {message}")
    if texts != [""]:
        with pytest.raises(ConfigError) as refused:
            mapping_by({"PYSHARD_ADDRESSES": ",".join(texts)})
        assert str(refused.value).startswith(f"PYSHARD_ADDRESSES: {message}")


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", fullmatch=True) | st.ip_addresses().map(str)
ADDRESSES = st.tuples(HOSTS, st.integers(1, 65535))
MAPPINGS = st.dictionaries(ADDRESSES, ADDRESSES).map(lambda pairs: AddressMapping(tuple(pairs.items())))


@given(MAPPINGS)
def test_round_trip(mapping: AddressMapping) -> None:
    """Each form that a mapping is written in reads back as the same, and so does a pickle and a copy."""
    assert mapping_of(mapping.texts) == mapping
    assert mapping_by({"PYSHARD_ADDRESSES": str(mapping)}) == mapping
    for again in (pickle.loads(pickle.dumps(mapping)), copy.copy(mapping), copy.deepcopy(mapping)):
        assert again == mapping
        assert [again.dialed(*announced) for announced, _ in mapping.pairs] == [dialed for _, dialed in mapping.pairs]
