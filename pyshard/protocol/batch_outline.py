"""The outline of a batch: what can be known of it without decoding its columns. Pure.

It says how many elements each column of a large batch announces, and where in a batch the fault is that msgspec has
found.

Rules:

- an outline costs a bounded amount of memory, whatever a run announces; the caller has looked how many runs there are;
- every column is counted, not only the keys: any of them can take 40 times its bytes when it is decoded;
- of a text that stands in a batch only the beginning is looked at: it may be as long as the batch;
- a fault is told in the words of docs/protocol.md: run, column, element, and MessagePack's names of types. msgspec
  itself has paths (``$[0][2][1]``) and Python's types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, get_args

import msgspec

from pyshard.errors import BadRequest, plain, shortened
from pyshard.protocol.batch_operations import Run, columns, verb_of
from pyshard.protocol.message_pack_heads import array_length

_MOST_TEXT = 200  # characters of what msgspec says, and bytes of a verb, that are looked at
_MAX_FIELDS = 16  # of a run in a large batch; today's verbs have 6 at the most, a newer peer's may have more

_outline = msgspec.msgpack.Decoder(list[Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MAX_FIELDS)]])
_verb = msgspec.msgpack.Decoder(str)

_PLACE = re.compile(r" - at `\$((?:\[\d+\])+)`$")
_TYPES = re.compile(r"Expected `([\w| ]+)`, got `(\w+)`$")
_FIELDS = re.compile(r"Expected `array` of at least length (\d+), got (\d+)$")
_VERB = re.compile(r"Invalid value (.*)$", re.DOTALL)
_OTHER_NAMES = {"bytes": "bin", "None": "nil", "null": "nil", "object": "map"}
_COLUMNS = {run.__struct_config__.tag: ("verb", *run.__struct_fields__) for run in get_args(Run)}
_ANY_COLUMNS = ("verb", "index", "keys", *(f"column {number}" for number in range(3, _MAX_FIELDS)))


def operations_announced(data: bytes) -> int:
    """How many operations the runs of a batch announce that they have; each column has an element for each.

    :raises msgspec.DecodeError: it is no batch.
    :raises BadRequest: a column announces another number.
    """
    operations = 0
    for number, run in enumerate(_outline.decode(data)):
        keys, *others = [array_length(column) for column in run[2:]] or [None]
        for place, length in enumerate(others, 3):
            if keys is not None and length is not None and length != keys:
                verb = _text(run[0])
                fault = _uneven(number, verb, _column_name(verb, place), length, keys)
                raise BadRequest(f"the batch can't be read: {fault}")
        operations += keys or 0
    return operations


def batch_fault(error: Exception, data: bytes) -> str:
    """What is wrong with a batch, and where, in one printable line.

    :param error: what msgspec, or Python's decoder of UTF-8, says about it.
    :param data: the batch.
    """
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    message, place = str(error), ""
    found = _PLACE.search(message, max(0, len(message) - _MOST_TEXT))
    if found is not None:
        message, steps = message[: found.start()], [int(step) for step in re.findall(r"\d+", found[1])]
        place = f"{_place(steps, data)}: "
    return plain(place + _in_words(shortened(message, _MOST_TEXT)))


def uneven(number: int, run: Run) -> str:
    """What is wrong with a run in which a column hasn't as many elements as there are keys.

    :param number: of the run in its batch.
    """
    for name, column in zip(run.__struct_fields__[2:], columns(run), strict=True):
        if column is not None and len(column) != len(run.keys):
            return _uneven(number, verb_of(run), name, len(column), len(run.keys))
    raise AssertionError(f"the columns of {run} are even")


def run_name(number: int, verb: str) -> str:
    """What messages call a run of a batch: its number, and its verb if it has one."""
    return f"run {number} ({verb})" if verb in _COLUMNS else f"run {number}"


def _uneven(number: int, verb: str, column: str, found: int, expected: int) -> str:
    place = f"{run_name(number, verb)}, {column}"
    return f"{place}: found {found:,} elements, expected {expected:,}, as many as there are keys"


def _in_words(message: str) -> str:
    """What msgspec says of a value, in the words of docs/protocol.md."""
    if types := _TYPES.match(message):
        expected = " or ".join(_OTHER_NAMES.get(name, name) for name in types[1].split(" | "))
        return f"found {_OTHER_NAMES.get(types[2], types[2])}, expected {expected}"
    if fields := _FIELDS.match(message):
        return f"found {fields[2]} elements, expected at least {fields[1]}"
    if verb := _VERB.match(message):
        return f"found {verb[1]}, expected one of {', '.join(_COLUMNS)}"
    return message.replace("`", "").replace("Expected", "expected")


def _place(steps: list[int], data: bytes) -> str:
    """A place in a batch: the numbers of run, column and element, as far as there are such."""
    run, *inside = steps
    verb = _verb_of(run, data)
    words = [run_name(run, verb)]
    words += [_column_name(verb, column) for column in inside[:1]]
    words += [f"element {step}" for step in inside[1:]]
    return ", ".join(words)


def _column_name(verb: str, place: int) -> str:
    """What messages call a part of a run."""
    names: Sequence[str] = _COLUMNS.get(verb, ())
    return names[place] if place < len(names) else _ANY_COLUMNS[place]


def _verb_of(run: int, data: bytes) -> str:
    """The verb of a run; empty: it can't be read."""
    try:
        return _text(_outline.decode(data)[run][0])
    except (msgspec.DecodeError, RecursionError, IndexError):
        return ""


def _text(value: msgspec.Raw) -> str:
    """A text; empty: it is none, or is longer than any verb."""
    if len(value) > _MOST_TEXT:
        return ""
    try:
        text: str = _verb.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return text
