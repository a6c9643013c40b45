"""What autodoc can't tell of pyshard's classes by itself: real defaults, fields of TypedDicts, bases of exceptions.

Rules:

- a default stands as its value, where its name is of no use to a reader: that of an attrs class, a private one;
- a TypedDict has its fields with their types, and nothing of `dict`;
- a name of an alias is a link to it; the name of a type of Python's never leads to something of pyshard's;
- what a page lists of the code is read from the code: all settings with their values, all exceptions with their bases.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from collections.abc import Iterator
from types import UnionType
from typing import Any, TypeVar, get_type_hints, is_typeddict

import attrs
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import TypeAliasForwardRef, TypeAliasNamespace
from sphinx.util.typing import stringify_annotation

from pyshard.errors import PyshardError
from pyshard.settings import Settings, settings

#: Types of signatures that stand as their names, which are links; where they are on the site.
ALIASES = {
    **{name: f"pyshard.{name}" for name in ("Document", "Key", "Storable")},
    **{name: f"pyshard.client.{name}" for name in ("Pairs", "Progress")},
}

_FIELD = re.compile(r"^(\s*:\w+ (?:[^:]*\s)?\w+)_:")


def connect(app: Any) -> None:
    """Have Sphinx call what is below."""
    # Sphinx prints how the stand-in of an alias is made, where it is a part of another type: `Iterable[Key]`.
    TypeAliasForwardRef.__repr__ = lambda self: self.name
    app.connect("autodoc-before-process-signature", show_defaults)
    app.connect("autodoc-process-docstring", complete_docstring)
    app.connect("doctree-read", keep_types_apart)
    app.add_directive("pyshard-settings", SettingsDirective)
    app.add_directive("pyshard-exceptions", ExceptionsDirective)


def show_defaults(app: Any, function: Any, is_method: bool) -> None:
    """Put values in place of the names of defaults that say nothing, which autodoc has from a function's source."""
    if not inspect.isfunction(function):
        return
    signature = inspect.signature(function)
    fields = _attrs_fields(function)
    parameters = [
        one.replace(default=_default(one, fields, function.__globals__)) for one in signature.parameters.values()
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # for autodoc


def _attrs_fields(function: Any) -> dict[str, attrs.Attribute[Any]]:
    """The fields by the names of the parameters, if this is the `__init__` of an attrs class; else none."""
    owner: Any = sys.modules.get(function.__module__)
    *classes, name = function.__qualname__.split(".")
    for one in classes:
        owner = getattr(owner, one, None)
    if name != "__init__" or not isinstance(owner, type) or not attrs.has(owner):
        return {}
    return {field.alias or field.name: field for field in attrs.fields(owner)}


def _default(parameter: inspect.Parameter, fields: dict[str, attrs.Attribute[Any]], known: dict[str, Any]) -> Any:
    default = parameter.default
    if default is parameter.empty:
        return default
    if field := fields.get(parameter.name):
        factory = getattr(field.default, "factory", None)
        return field.default if factory is None else factory()
    name = repr(default)  # as the source has it
    return known[name] if name.startswith("_") and name in known else default


def complete_docstring(app: Any, what: str, name: str, documented: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring what the site shows, without markup in the code that nobody else needs."""
    if isinstance(documented, UnionType):  # it is Python's, about unions; the page says what this one is
        lines[:] = []
    # In a field's name, as in `:ivar hash_:`, an underscore at the end would be markup.
    lines[:] = [_FIELD.sub(r"\1\\_:", line) for line in lines]
    if is_typeddict(documented):
        while lines and not lines[-1]:
            lines.pop()
        lines += [_FIELD.sub(r"\1\\_:", line) for line in _field_types(documented)] + [""]


def _field_types(typed_dict: Any) -> Iterator[str]:
    """The types of a TypedDict's fields, as docstrings have types."""
    for field, annotation in get_type_hints(typed_dict, localns=TypeAliasNamespace(ALIASES)).items():
        if isinstance(annotation, TypeVar):
            shown = annotation.__name__
        elif isinstance(annotation, TypeAliasForwardRef):
            shown = f"~{annotation.name}"
        else:
            shown = stringify_annotation(annotation, "smart")
        yield f":vartype {field}: {shown}"


def keep_types_apart(app: Any, doctree: Any) -> None:
    """Have the name of a type of Python's stand for that one also within a class with a property of that name."""
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link["refdomain"] == "py" and link["reftype"] == "class" and hasattr(builtins, link["reftarget"]):
            link["py:module"] = link["py:class"] = None
            link.attributes.pop("refspecific", None)  # with it, whatever its value is, it is the end of any name


class SettingsDirective(SphinxDirective):
    """All settings with their values, under the headings that they have in the code."""

    def run(self) -> list[nodes.Node]:
        """What stands in its place."""
        self.env.note_dependency(inspect.getfile(Settings))
        return self.parse_text_to_nodes("\n".join(settings_lines(inspect.getsource(Settings))))


def settings_lines(source: str) -> Iterator[str]:
    """The settings as reStructuredText.

    :param source: that of their class.
    """
    yield from (".. py:class:: Settings", "   :module: pyshard.settings", "", f"   {inspect.getdoc(Settings)}", "")
    told: list[str] = []
    for line in map(str.strip, source.splitlines()):
        if heading := re.fullmatch(r"# -- (.+?) -+", line):
            yield from (f"   .. rubric:: {heading[1].capitalize()}", "")
        elif line.startswith("#: "):
            told.append(line.removeprefix("#: "))
        elif found := re.match(r"([A-Z_]+): (.+?) = ", line):
            yield from (f"   .. py:attribute:: Settings.{found[1]}", "      :module: pyshard.settings")
            yield f"      :type: {found[2]}"
            yield from (f"      :value: {shown_setting(getattr(settings, found[1]))}", "")
            yield from (f"      {text}" for text in told)
            yield ""
            told = []


def shown_setting(value: object) -> str:
    """A value as Python has it, with the digits of a large int in groups."""
    return f"{value:_}" if isinstance(value, int) and value >= 100_000 else repr(value)


class ExceptionsDirective(SphinxDirective):
    """All exceptions as a tree: each one below the class that it is a subclass of."""

    def run(self) -> list[nodes.Node]:
        """What stands in its place."""
        return self.parse_text_to_nodes("\n".join(exception_lines(PyshardError)))


def exception_lines(base: type[PyshardError], depth: int = 0) -> Iterator[str]:
    """A class and all below it in its module, as nested lists of reStructuredText."""
    yield from (f"{'  ' * depth}- :exc:`~{base.__module__}.{base.__qualname__}`", "")
    for below in sorted(base.__subclasses__(), key=lambda one: one.__name__):
        if below.__module__ == base.__module__:
            yield from exception_lines(below, depth + 1)
