"""Key → text → slot: the original pyshard's hash, and what can be a key."""

from __future__ import annotations

import enum
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.errors import InvalidKey
from pyshard.model import key_slots
from pyshard.model.key_slots import (
    SLOTS,
    Key,
    hash_to_slot,
    key_bytes,
    keys_bytes,
    keys_bytes_plainly,
    shown_key,
    slot_of,
    slot_to_hash,
    slots_of,
)
from pyshard.settings import settings

texts = st.text(st.characters(exclude_categories=["Cs"]))


def original_hash(text: str) -> float:
    """The hash as the original pyshard computes it."""
    return float(int(md5(text.encode("utf-8")).hexdigest(), 16) % 1e7) / 1e7


class Number(enum.IntEnum):
    """An int with a text of its own."""

    SEVEN = 7


class Word(enum.StrEnum):
    """A str by another name."""

    COLOR = "red"


class Loud(str):
    """A str that shows itself as another text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"


class Price(float):
    """A float that shows itself with its currency."""

    def __repr__(self) -> str:
        return "$" + super().__repr__()

    __str__ = __repr__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", 0.1671936),
        ("test1", 0.8204544),
        ("132346", 0.0),  # a hash of exactly zero
        ("38576", 0.9999872),  # the highest hash there is
        ("", 0.8999552),
    ],
)
def test_known_hashes(text: str, expected: float) -> None:
    """The README's numbers, and the two ends of the keyspace."""
    assert slot_to_hash(slot_of(key_bytes(text))) == expected == original_hash(text)


@given(texts)
def test_slot_is_the_originals_hash(text: str) -> None:
    """The slot of any text is the original pyshard's hash of it, as an integer within the keyspace."""
    slot = slot_of(key_bytes(text))
    assert type(slot) is int
    assert 0 <= slot < SLOTS
    assert slot_to_hash(slot) == original_hash(text)


@given(texts, texts.filter(bool))
def test_named_index_is_part_of_the_text(text: str, index: str) -> None:
    """In a named index the hash is that of ``index:key``."""
    assert slot_to_hash(slot_of(key_bytes(text), index.encode())) == original_hash(f"{index}:{text}")


@given(st.lists(texts), texts)
def test_slots_of_many_keys(keys: list[str], index: str) -> None:
    """The slots of many keys at once are those of each key."""
    encoded, name = [key.encode() for key in keys], index.encode()
    assert slots_of(encoded, name) == [slot_of(key, name) for key in encoded]


@given(texts)
def test_slots_are_multiples_of_128(text: str) -> None:
    """The float arithmetic of the original pyshard leaves 78,125 distinct slots."""
    assert slot_of(key_bytes(text)) % 128 == 0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", b""),
        ("a:b", b"a:b"),
        ("ключ", "ключ".encode()),
        ("\U0001f600", b"\xf0\x9f\x98\x80"),
        ("nul\0inside", b"nul\0inside"),
        (1, b"1"),
        (-1, b"-1"),
        (0, b"0"),
        (2**200, b"1606938044258990275541962092341162602522202993782792835301376"),
        (1.0, b"1.0"),
        (0.1, b"0.1"),
        (-0.0, b"-0.0"),
        (1e22, b"1e+22"),
        (float("nan"), b"nan"),
        (float("-inf"), b"-inf"),
    ],
)
def test_key_is_its_text(key: Key, expected: bytes) -> None:
    """A str, int or float is its text in UTF-8."""
    assert key_bytes(key) == expected


@pytest.mark.parametrize(
    ("key", "expected"), [(Number.SEVEN, b"7"), (Word.COLOR, b"red"), (Loud("quiet"), b"quiet"), (Price(1.5), b"1.5")]
)
def test_subclass_counts_as_its_base(key: Key, expected: bytes) -> None:
    """A subclass is the same key as its plain value, whatever it prints as."""
    assert key_bytes(key) == expected


@given(st.integers() | st.floats())
def test_number_and_its_text_are_one_key(key: float) -> None:
    """1 and "1" are the same key."""
    assert key_bytes(key) == key_bytes(str(key))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (True, "key True is of type bool; a key is a str, int or float"),
        (False, "key False is of type bool; a key is a str, int or float"),
        (None, "key None is of type NoneType; a key is a str, int or float"),
        (b"test", "key b'test' is of type bytes; a key is a str, int or float"),
        (bytearray(b"test"), "key <bytearray> is of type bytearray; a key is a str, int or float"),
        (("a", 1), "key <tuple> is of type tuple; a key is a str, int or float"),
        (1j, "key <complex> is of type complex; a key is a str, int or float"),
        (b"x" * 58, f"key b'{'x' * 55}... is of type bytes; a key is a str, int or float"),
        ("a\ud800", "key 'a\\ud800' has lone surrogates, which UTF-8 can't carry; use text"),
        (Loud("\udfff"), "key '\\udfff' has lone surrogates, which UTF-8 can't carry; use text"),
        pytest.param(
            10**5000, "the int given as a key has too many digits; use a shorter one", id="an int of 5,001 digits"
        ),
        pytest.param(
            "k" * 65_537,
            f"key '{'k' * 56}... has 65,537 bytes in UTF-8; a key has at most 65,536",
            id="a long text",
        ),
    ],
)
def test_refused_key(key: object, message: str) -> None:
    """A value that can't be a key is refused: the message says what was given and what a key is."""
    with pytest.raises(InvalidKey) as refused:
        key_bytes(key)  # type: ignore[arg-type]
    assert str(refused.value) == message


def test_short_key_is_shown_whole() -> None:
    """A key whose repr has 60 characters is not cut in a message."""
    with pytest.raises(InvalidKey) as refused:
        key_bytes(b"x" * 57)  # type: ignore[arg-type]
    assert str(refused.value) == f"key b'{'x' * 57}' is of type bytes; a key is a str, int or float"


@given(st.lists(texts | st.just("\0") | st.integers() | st.floats()))
def test_texts_of_many_keys(keys: list[Key]) -> None:
    """The texts of many keys at once are those of each key, whatever is in them."""
    assert keys_bytes(keys) == [key_bytes(key) for key in keys]


@pytest.mark.parametrize("bad", ["a\ud800", "k" * 65_537, "é" * 32_769, True, None])
def test_one_of_many_that_is_refused(bad: Key) -> None:
    """A key that is refused alone is refused among others. Keys that fit alone are accepted, however many they are."""
    most = ["k" * settings.MAX_KEY_BYTES, "nul\0inside", "é"]
    assert keys_bytes(most) == [key.encode() for key in most]
    assert keys_bytes([*most[:1], *most[2:]]) == [most[0].encode(), most[2].encode()]
    for keys in ([bad, "good"], ["good", bad], ["nul\0inside", bad]):
        with pytest.raises(InvalidKey):
            keys_bytes(keys)


def test_longest_key() -> None:
    """The limit counts bytes of UTF-8, not characters."""
    longest = "é" * (settings.MAX_KEY_BYTES // 2)
    assert key_bytes(longest) == longest.encode()
    with pytest.raises(InvalidKey, match="65,537 bytes in UTF-8"):
        key_bytes(longest + "x")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("key", "'key'"),
        ("k" * 100, f"'{'k' * 56}..."),
        (7, "7"),
        (-(10**100), f"-1{'0' * 55}..."),
        pytest.param(10**5000, "<int>", id="an int of 5,001 digits"),
        (1.5, "1.5"),
        (None, "None"),
        (Number.SEVEN, "<Number.SEVEN: 7>"),
        ([1], "<list>"),
        pytest.param("k" * 10**7, f"'{'k' * 56}...", id="a long str"),
    ],
)
def test_shown_key(key: object, shown: str) -> None:
    """A message shows a key by its repr, cut, but never an int that Python would refuse to write out."""
    assert shown_key(key) == shown


@given(st.lists(texts | st.text(max_size=3) | st.just("\0") | st.integers() | st.booleans()))
def test_many_keys_agree_with_one_by_one(keys: list[Key]) -> None:
    """The quick way gives what the plain way gives, or refuses with the same error."""
    outcomes: list[object] = []
    for encode in (keys_bytes, keys_bytes_plainly):
        try:
            outcomes.append(encode(keys))
        except InvalidKey as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(st.integers(0, SLOTS))
def test_boundary_of_seven_decimals_is_its_slot(slot: int) -> None:
    """A number written with seven decimal places is exactly its slot, there and back."""
    written = float(f"{slot // SLOTS}.{slot % SLOTS:07}")
    assert hash_to_slot(written) == slot
    assert slot_to_hash(slot) == written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(0, 0), (1, SLOTS), (0.0, 0), (1.0, SLOTS), (0.5, 5_000_000), (0.1 + 0.2, 3_000_000), (0.0000001, 1)],
        *[(1 / 3, 3_333_333), (2 / 3, 6_666_667), (0.12345678, 1_234_568), (0.00000001, 0), (0.99999999, SLOTS)],
    ],
)
def test_hash_to_slot(value: float, expected: int) -> None:
    """Ints count as floats; noise of float arithmetic doesn't count; between two slots it is the nearest one."""
    assert hash_to_slot(value) == expected


@pytest.mark.parametrize("value", [-0.1, -1e-12, 1.0000001, 1.5, float("nan"), float("inf"), float("-inf")])
def test_no_boundary(value: float) -> None:
    """A number outside [0, 1] is no boundary."""
    with pytest.raises(ValueError, match="is no number") as refused:
        hash_to_slot(value)
    assert str(refused.value) == f"{value!r} is no number from 0 to 1"


@given(keys=st.lists(st.binary(max_size=20), max_size=20), index=st.sampled_from([b"", b"pages"]))
def test_lazy_slots(keys: list[bytes], index: bytes) -> None:
    """Lazy slots are those that are computed at once, however they are asked for."""
    slots = key_slots.slots_of(keys, index)
    for ask in (list, lambda lazy: [lazy[place] for place in range(len(lazy))], lambda lazy: lazy[:]):
        assert ask(key_slots.LazySlots(keys, index)) == slots
    assert len(key_slots.LazySlots(keys, index)) == len(keys)


def test_lazy_slots_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed before a slot is asked for; then all of them are computed, once."""
    computed: list[object] = []

    def noted(keys: list[bytes], index: bytes) -> list[int]:
        computed.append((keys, index))
        return [1, 2]

    monkeypatch.setattr(key_slots, "slots_of", noted)
    lazy = key_slots.LazySlots([b"a", b"b"], b"pages")
    assert (len(lazy), computed) == (2, [])
    assert [*lazy, lazy[1], 2 in lazy] == [1, 2, 2, True]
    assert computed == [([b"a", b"b"], b"pages")]
