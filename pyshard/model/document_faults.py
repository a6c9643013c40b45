"""Why a document can't be stored, and at which place in it. Pure.

Each function makes a walk of its own, only when the quick one of `pyshard.model.document_size` has failed. So that one
need not keep in mind where it is.

Rules:

- a place is what one would write in Python: ``document["a"][3]``;
- what to do, to store it, is a line of Python, with ``value`` for what stands at that place;
- a message stays short, whatever the document holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from pyshard.errors import DocumentTooLarge, InvalidDocument, plain, shortened, shown_value
from pyshard.model.plain_values import plain_key, plain_value
from pyshard.settings import settings

_EXACT = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})

_STR_KEYS = "{str(key): one for key, one in value.items()}"
_HOLDS = "a document holds None, bool, int, float, str, bytes, and lists and dicts of them"

#: Package and class → what to do with its values, and with those of subclasses.
_ADVICE = {
    "datetime.datetime": "store value.isoformat(), and read it with datetime.fromisoformat()",
    "datetime.date": "store value.isoformat(), and read it with date.fromisoformat()",
    "datetime.time": "store value.isoformat(), and read it with time.fromisoformat()",
    "datetime.timedelta": "store value.total_seconds(), and read it with timedelta(seconds=…)",
    "decimal.Decimal": "store str(value), and read it with Decimal()",
    "fractions.Fraction": "store str(value), and read it with Fraction()",
    "uuid.UUID": "store str(value), and read it with UUID()",
    "pathlib.PurePath": "store str(value), and read it with Path()",
    "builtins.set": "store list(value), and read it with set()",
    "builtins.frozenset": "store list(value), and read it with frozenset()",
    "builtins.complex": "store [value.real, value.imag], and read it with complex()",
    "builtins.bytearray": "store bytes(value)",
    "builtins.memoryview": "store bytes(value)",
    "builtins.coroutine": "await it, and store what it gives",
    "twisted.Deferred": "await it, and store what it gives",
    "enum.Enum": "store value.value",
    "numpy.ndarray": "store value.tolist(), and read it with numpy.array()",
    "numpy.generic": "store value.item()",
    "msgspec.Struct": "store msgspec.to_builtins(value)",
    "pydantic.BaseModel": 'store value.model_dump(mode="json")',
}

#: What is wrong with a value, given those that it is in; None: nothing.
_Reason: TypeAlias = Callable[[object, Sequence[object]], str | None]


def located(document: object, error: InvalidDocument) -> InvalidDocument:
    """The error for a document that was refused, with the place in its message.

    :param error: what the quick walk said, or who wrote the document out. It stays where no one place is at fault, as
        in a document that is too large as a whole.
    """
    if not isinstance(error, DocumentTooLarge):
        found = _first(document, _unstorable)
        return error if found is None else InvalidDocument(found)
    found = _first(document, _too_large, set()) if _parts(document) is not None else None
    return error if found is None else DocumentTooLarge(found)


def with_surrogates(document: object) -> InvalidDocument:
    """The error for a document with a str that UTF-8 can't carry."""
    return InvalidDocument(_first(document, _surrogates, set()) or "document: found a str that UTF-8 can't carry")


def _first(document: object, reason: _Reason, seen: set[int] | None = None) -> str | None:
    """The first place at which there is a reason, with the reason, in the order of the quick walk.

    :param seen: the ids of lists and dicts that are not looked into again; None: each is, since its depth counts.
    """
    return _below(document, [], [], reason, seen)


def _below(
    value: object, steps: list[object], around: list[object], reason: _Reason, seen: set[int] | None
) -> str | None:
    found = reason(value, around)
    if found is not None:
        return f"{shown_path(steps)}: {found}"
    parts = _parts(value)
    if parts is None:
        return None
    if seen is not None:
        if id(value) in seen or len(around) >= settings.MAX_NESTING:
            return None
        seen.add(id(value))
    around.append(value)
    for step, part in parts:
        steps.append(step)
        found = _below(part, steps, around, reason, seen)
        if found is not None:
            return found
        steps.pop()
    around.pop()
    return None


def _parts(value: object) -> Iterable[tuple[object, object]] | None:
    """What a list or dict holds, each with its number or key; None: it is neither."""
    content = _content(value)
    if isinstance(content, dict):
        return content.items()
    return enumerate(content) if isinstance(content, list | tuple) else None


def _content(value: object) -> object:
    """The value, or the plain one that it is equal to; None also for what can't be stored."""
    return value if type(value) in _EXACT else plain_value(value)


def _unstorable(value: object, around: Sequence[object]) -> str | None:
    content = _content(value)
    if content is None and value is not None:
        return f"{_a(value)}, which can't be stored; {_advice(value)}"
    if not isinstance(content, dict | list | tuple):
        return None
    if any(one is value for one in around):
        return f"{_a(value)} that contains itself; store a copy without that"
    if len(around) >= settings.MAX_NESTING:
        return f"{_a(value)} {len(around) + 1} levels deep; a document nests at most {settings.MAX_NESTING} levels"
    if isinstance(content, dict):
        texts = set()
        for key in content:
            text = plain_key(key)
            if text is None:
                return f"{_a(value)} with a key that is {_a(key)}; keys are str, so store {_STR_KEYS}"
            if text in texts:
                return f"{_a(value)} with two keys that are both the text {_quoted(text)}; keys of a dict are texts"
            texts.add(text)
    return None


def _too_large(value: object, _: Sequence[object]) -> str | None:
    content = _content(value)
    if isinstance(content, int):
        size = content.bit_length() // 8
    elif isinstance(content, str | bytes):
        size = len(content)
    else:
        return None
    if size <= settings.MAX_DOCUMENT_BYTES:
        return None
    most = f"a document has at most {settings.MAX_DOCUMENT_BYTES:,}"
    return f"{_a(value)} of more than {size:,} bytes as stored; {most}"


def _surrogates(value: object, _: Sequence[object]) -> str | None:
    content = _content(value)
    if isinstance(content, str) and not _is_utf_8(content):
        return "a str with lone surrogates, which UTF-8 can't carry; store bytes"
    for key in content if isinstance(content, dict) else ():
        text = plain_key(key)
        if text is not None and not _is_utf_8(text):
            return f"the key {_quoted(text)} with lone surrogates, which UTF-8 can't carry; use text"
    return None


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _a(value: object) -> str:
    """A value's type, with its article."""
    name = shortened(plain(type(value).__qualname__))
    article = "" if name == "bytes" else "an " if name[:1] in tuple("AEIOaeio") else "a "
    return article + name


def _advice(value: object) -> str:
    """What to do with a value that can't be stored."""
    kind = type(value)
    for base in kind.__mro__:
        found = _ADVICE.get(f"{base.__module__.partition('.')[0]}.{base.__qualname__}")
        if found is not None:
            return found
    if hasattr(kind, "__dataclass_fields__"):
        return "store dataclasses.asdict(value), or use index(name, type=…)"
    if hasattr(kind, "__attrs_attrs__"):
        return "store attrs.asdict(value), or use index(name, type=…)"
    if issubclass(kind, Mapping):
        return "store dict(value)"
    return "store list(value)" if issubclass(kind, Iterable) else _HOLDS


def shown_path(steps: Sequence[object]) -> str:
    """A place in a document, cut in its middle where it is long."""
    texts = [(step, plain_key(step)) for step in steps]
    shown = [f"[{shown_value(step) if text is None else _quoted(text)}]" for step, text in texts]
    return "document" + "".join(shown if len(shown) <= 10 else [*shown[:5], " … ", *shown[-5:]])


def _quoted(text: str) -> str:
    return plain(json.dumps(shortened(text, 40), ensure_ascii=False))
