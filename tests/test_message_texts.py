"""Texts of others: which can be shown as they are, and what stands for those that can't."""

from __future__ import annotations

import json
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis.strategies import text
from work import steps

from pyshard.message_texts import MOST_PLAIN, can_be_shown, escaped, escaped_plainly, json_escaped

#: Text → its escapes in a line, and in JSON: a terminal's commands, ends of lines, and what isn't seen.
ODD = {
    "\x1b[2J": (r"\x1b[2J", r"\u001b[2J"),
    "a\nb": (r"a\nb", r"a\u000ab"),
    "a\x7f": (r"a\x7f", r"a\u007f"),
    "\x9b2J": (r"\x9b2J", r"\u009b2J"),
    "\u202eb": (r"\u202eb", r"\u202eb"),
    "\u200b": (r"\u200b", r"\u200b"),
    "\u2028": (r"\u2028", r"\u2028"),
    "\ufeff": (r"\ufeff", r"\ufeff"),
    "\xa0": (r"\xa0", r"\u00a0"),
    "\U000e0041": (r"\U000e0041", r"\udb40\udc41"),
}


@pytest.mark.parametrize("text", ODD)
def test_what_can_not_be_shown(text: str) -> None:
    """Escapes stand for it; those of JSON are read back as the same text."""
    assert (can_be_shown(text), escaped(text), json_escaped(text)) == (False, *ODD[text])
    assert json.loads(f'"{json_escaped(text)}"') == text


@pytest.mark.parametrize("text", ["", "shard 0", "größe-1.é", "页", "🂡", "½"])
def test_what_can_be_shown(text: str) -> None:
    """It stays as it is."""
    assert (can_be_shown(text), escaped(text), json_escaped(text)) == (True, text, text)


def test_characters_of_a_later_unicode() -> None:
    """A name may have them, since a newer Python takes them; on a terminal their escapes are shown."""
    assert (can_be_shown("a\U0003fff0"), escaped("a\U0003fff0")) == (True, r"a\U0003fff0")


def test_every_character() -> None:
    """It has the escape that it has by itself, beside whatever."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert escaped(everything) == escaped_plainly(everything)


@given(text(alphabet="~01'\"\\nx\x7f\n\u202e"))
def test_quotes_and_backslashes(odd: str) -> None:
    """They stay as they are, also beside what stands for them meanwhile."""
    assert escaped(odd) == escaped_plainly(odd)


def test_no_character_costs_a_step() -> None:
    """A peer may have written it, of such characters alone."""
    for odd in ("\x7f", "'\x7f\"\\~"):
        assert steps(partial(escaped, odd)) == steps(partial(escaped, 1000 * odd))
        assert steps(partial(json_escaped, odd)) == steps(partial(json_escaped, 1000 * odd))


def test_a_long_text() -> None:
    """Nothing of it is cut."""
    assert len(escaped("\x1b" * 2 * MOST_PLAIN)) == 4 * 2 * MOST_PLAIN
