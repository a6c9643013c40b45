"""What the pages and docstrings can't say to Sphinx: the order of the pages, names of pages as links, and the like.

Rules:

- docs/index.md lists every page, and its headings are the captions of the site's sidebar;
- a page whose text is nothing but "See [NAME](../NAME)." is the page NAME of the folder above;
- `docs/running.md` in a sentence, or in a docstring, is a link to that page, by its title;
- an interface of zope's stands in a signature as its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

#: Files beside the pages that the site has, too.
FILES = ("protocol-vectors.json",)

_FOLDER = Path(__file__).parent
_ABOVE = re.compile(r"See \[([A-Z]+\.md)\]\(\.\./\1\)\.\n")
_LISTED = re.compile(r"^- \[[^\]]+\]\((\S+)\.(?:md|rst)\)", re.MULTILINE)
_INTERFACE = re.compile(r"<InterfaceClass ([\w.]+)>")
_NAMED = re.compile(r"\b(?:docs/([\w-]+\.(?:md|json))|([A-Z]+\.md))\b")


def connect(app: Any) -> None:
    """Have Sphinx call the functions below."""
    app.connect("source-read", read_source)
    app.connect("doctree-read", link_names)
    app.connect("autodoc-process-signature", name_interfaces)


def read_source(app: Any, page: str, source: list[str]) -> None:
    """Replace what a file has by what the site has of it."""
    text = source[0]
    if above := _ABOVE.fullmatch(text):
        app.env.note_dependency(str(_FOLDER.parent / above[1]))
        source[0] = (_FOLDER.parent / above[1]).read_text(encoding="utf-8")
    elif page == "index":
        source[0] = with_contents(re.sub(r"\]\(\.\./([A-Z]+)\.md\)", lambda found: f"]({found[1].lower()}.md)", text))


def with_contents(text: str) -> str:
    """The text of docs/index.md with a table of contents, which isn't seen, below each of its sections."""
    before, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return before + "".join(_with_contents(section) for section in sections)


def _with_contents(section: str) -> str:
    caption, pages = section.partition("\n")[0].removeprefix("## "), _LISTED.findall(section)
    contents = "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])
    return f"{section.rstrip()}\n\n{contents}\n\n" if pages else section


def link_names(app: Any, doctree: Any) -> None:
    """Make links of the names of pages in sentences."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.reference | nodes.title | nodes.raw):
            parts = list(_parts(str(text), app.env.found_docs))
            if len(parts) > 1:
                text.parent.replace(text, parts)


def _parts(text: str, pages: set[str]) -> Any:
    """The text, cut where it names pages, and links there."""
    end = 0
    for found in _NAMED.finditer(text):
        name = found[1] or found[2].lower()
        page = name.removesuffix(".md")
        if name in FILES:
            link = nodes.reference("", name, refuri=name, internal=True)
        elif page in pages:
            link = addnodes.pending_xref(
                "", nodes.inline("", name), refdomain="std", reftype="doc", reftarget=f"/{page}", refexplicit=False
            )
        else:
            continue
        yield nodes.Text(text[end : found.start()])
        yield link
        end = found.end()
    yield nodes.Text(text[end:])


def name_interfaces(
    app: Any, what: str, name: str, documented: object, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Replace what zope prints for an interface, which is no Python, by its dotted name."""
    return tuple(text and _INTERFACE.sub(r"~\1", text) for text in (signature, returned))  # type: ignore[return-value]  # two
