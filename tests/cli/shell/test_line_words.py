"""Lines of a shell as words, and what it knows of keys, by value."""

from __future__ import annotations

import pytest

from pyshard.cli.shell.known_names import KnownNames
from pyshard.cli.shell.line_words import LineError, typed, words_before, words_of
from pyshard.cli.shell.own_process import option_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("read test", ["read", "test"]),
        ("pyshard read test\n", ["read", "test"]),
        ("  \n", []),
        ("  # a comment with 'quotes", []),
        ("read a#b", ["read", "a#b"]),
        ("""write k '{"a": "b c"}'""", ["write", "k", '{"a": "b c"}']),
        ("write k \"a 'b'\"", ["write", "k", "a 'b'"]),
        ("write größe ''", ["write", "größe", ""]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    """Words and quotes are those of a shell of the system."""
    assert words_of(line) == words


def test_open_quotes() -> None:
    """Quotes that aren't closed are said, and end a completion."""
    with pytest.raises(LineError, match=r"^no closing quotation; "):
        words_of("read 'a b")
    assert words_before("read 'a b", 8) is None
    assert words_before("read 'a b' te", 11) == ["read", "a b"]


@pytest.mark.parametrize("word", ["test", "a b", "it's", "$HOME", "größe", "", "a|b", "-x", 'say "hi"'])
def test_typed(word: str) -> None:
    """A word that is completed comes back as it was."""
    assert words_of(f"read {typed(word)}") == ["read", word]


def test_option_words() -> None:
    """Options as they are typed, with one for each address."""
    given = {
        "bootstrap": "h:1",
        "index": None,
        "deadline": 2.5,
        "tls_ca": "ca.pem",
        "address": {"a:1": "b:2", "c:3": "d:4"},
    }
    assert option_words(given) == [
        "--bootstrap=h:1", "--deadline=2.5", "--tls-ca=ca.pem", "--address=a:1=b:2", "--address=c:3=d:4",
    ]  # fmt: skip


class Source:
    """Gives keys, and counts how often."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.now = 0.0

    def sample(self, index: str | None) -> list[str]:
        """Some keys."""
        self.asked.append(index)
        return ["apple", "pear", "apricot"]

    def names(self) -> KnownNames:
        """What a shell knows by it."""
        return KnownNames(self.sample, lambda: ["pages", "people"], lambda: self.now)


def test_keys() -> None:
    """Keys that were used come first, the newest before, then those of the sample; each once."""
    names = Source().names()
    names.saw(None, "avocado")
    names.saw(None, "pear")
    names.saw(None, "apple")
    names.saw("pages", "another")
    assert names.keys(None, "") == ["apple", "pear", "avocado", "apricot"]
    assert names.keys(None, "ap") == ["apple", "apricot"]
    assert names.keys("pages", "an") == ["another"]
    assert names.indexes("pe") == ["people"]


def test_sample_is_used_for_a_while() -> None:
    """Nobody is asked at each press of a key."""
    source = Source()
    names = source.names()
    names.keys(None, "")
    source.now = 29
    names.keys(None, "x")
    assert source.asked == [None]
    source.now = 31
    names.keys(None, "")
    names.keys("pages", "")
    assert source.asked == [None, None, "pages"]


def test_memory_is_bounded() -> None:
    """However many keys are used, some hundred are known."""
    names = Source().names()
    for number in range(2000):
        names.saw(None, f"key {number}")
    found = names.keys(None, "key")
    assert found[0] == "key 1999"
    assert len(found) == 200
