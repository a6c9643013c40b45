"""What no document holds is found before a dict is made of it, with its place."""

from __future__ import annotations

import gc
import struct
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from work import growth

from pyshard.compiled import IN_USE
from pyshard.errors import UnreadableRecord
from pyshard.model import document_encoding, messagepack_faults, strict_messagepack
from pyshard.model.bulk_document_encoding import decode_many
from pyshard.model.document_encoding import FORMAT, HEAD, decode
from pyshard.model.messagepack_faults import BIG_INT, fault_in, place_of_fault_plainly

PRIME = 2**61 - 1  # ints hash to what is left when they are divided by it


def record_of(body: bytes) -> bytes:
    """A record, given its MessagePack."""
    return HEAD.pack(FORMAT, 1) + body


def of_one_hash(count: int) -> bytes:
    """A map in MessagePack, whose keys are ints with the hash 0."""
    keys = [((2**64 + number) * PRIME).to_bytes(17, "big", signed=True) for number in range(count)]
    assert {hash(int.from_bytes(key, "big", signed=True)) for key in keys} <= {0}
    return b"\xdf" + struct.pack(">I", count) + b"".join(b"\xc7\x11\x01" + key + b"\xc0" for key in keys)


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=40)
    | st.binary(max_size=300) | st.datetimes(timezones=st.just(UTC))
    | st.builds(msgspec.msgpack.Ext, st.sampled_from([1, 1, 1, 2, -128]), st.binary(max_size=20))
)  # fmt: skip
anything: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=40) | st.integers(-5, 5) | st.binary(max_size=2), inner, max_size=20)
    ),
    max_leaves=12,
)


def holds_no_document(value: object, depth: int = 0) -> bool:
    """Whether a value that was decoded has anything that no document holds."""
    if isinstance(value, dict):
        inner = list(value.values())
        return (
            depth >= 100
            or not all(type(key) is str for key in value)
            or any(holds_no_document(one, depth + 1) for one in inner)
        )
    if isinstance(value, list):
        return depth >= 100 or any(holds_no_document(one, depth + 1) for one in value)
    return type(value) not in {type(None), bool, int, float, str, bytes}


@pytest.mark.parametrize("before", [b"", b"\x91", b"\x92\xc4\x01x", b"\x82\xa1a\xc4\x01x\xa1b"])
def test_keys_of_one_hash(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dict is made of a map with other keys than str, wherever it stands in a document."""
    monkeypatch.setattr(strict_messagepack, "_any", None)
    record = record_of(before + of_one_hash(1000))
    with pytest.raises(UnreadableRecord, match="a map with the key 42535295865117307914"):
        decode(record)
    with pytest.raises(UnreadableRecord, match="of type int; keys are str"):
        decode_many([record] * 3)


@pytest.mark.parametrize(
    "key", [b"\xcf" + bytes(8), b"\xcb" + bytes(8), b"\xc0", b"\xc4\x00", b"\x91\x01", b"\xd4\x01\x05"]
)
def test_keys_of_any_kind(key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with ints of 64 bits, floats, bytes, lists, and whatever else isn't a str."""
    monkeypatch.setattr(strict_messagepack, "_any", None)
    with pytest.raises(UnreadableRecord, match="keys are str"):
        decode(record_of(b"\x82\xa1a\xc4\x00" + key + b"\xc0"))


@pytest.mark.skipif(not IN_USE, reason="without compiled code it takes as long as to decode")
def test_a_large_document_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault near its end is found before anything is decoded: that would take long, and be lost."""
    monkeypatch.setattr(strict_messagepack, "_any", None)
    monkeypatch.setattr(document_encoding, "quick_document", None)
    record = record_of(b"\x92\xc6\x00\x10\x00\x00" + bytes(2**20) + b"\xd4\x05\x00")
    for read in (decode, lambda record: decode_many([record, record])):
        with pytest.raises(UnreadableRecord, match="the extension type 5"):
            read(record)


@pytest.mark.parametrize("enabled", [False, True])
def test_the_collector_rests_for_a_large_document(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    """Then it is as it was, also when the document can't be decoded."""
    seen: list[bool] = []

    def decoding(_: object) -> None:
        seen.append(gc.isenabled())
        raise ValueError("damaged")

    monkeypatch.setattr(strict_messagepack, "_any", decoding)
    body = b"\x91\xc6\x00\x10\x00\x00" + bytes(2**20)
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ValueError, match="damaged"):
            strict_messagepack.careful_document(body)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == [False]


@given(anything)
def test_faults_are_what_no_document_holds(value: object) -> None:
    """There is a fault in all that holds what no document holds, and in nothing else."""
    body = msgspec.msgpack.encode(value)
    decoded = msgspec.msgpack.Decoder(ext_hook=messagepack_faults.extension).decode(body)
    assert (fault_in(body) is not None) == holds_no_document(decoded)
    assert (place_of_fault_plainly(body, BIG_INT, 100) is not None) == holds_no_document(decoded)


def test_a_key_that_is_no_str_has_its_value_in_the_message() -> None:
    """It is shortened, however large it is."""
    for key, shown in (
        (b"\xc6\x00\x10\x00\x00" + bytes(2**20), "bytes"),
        (b"\xc9\x00\x10\x00\x00\x01" + b"\x11" * 2**20, "int"),
    ):
        fault = fault_in(b"\x81" + key + b"\xc0")
        assert fault is not None
        assert f"of type {shown}; keys are str" in fault
        assert len(fault) < 400


def test_the_place() -> None:
    """It is what one would write in Python, through lists and dicts."""
    document = {"a": [0, {"b": b"", "ä" * 40: [None, {"c": {}}, {"d": {5: 6}}]}]}
    fault = fault_in(msgspec.msgpack.encode(document))
    assert fault == f'document["a"][1]["{"ä" * 40}"][2]["d"]: a map with the key 5, of type int; keys are str'


def test_the_work() -> None:
    """Each element costs the same."""
    body = msgspec.msgpack.encode({"a": 1, "b": [b"x", "y", {"z": None}]})
    assert (
        growth(
            lambda count: lambda: place_of_fault_plainly(b"\xdc" + struct.pack(">H", count) + body * count, 1, 9), 100
        )
        < 4.8
    )
