"""README.md and docs/ can be believed: every block is run somewhere, and links lead to files."""

from __future__ import annotations

import re
from html import unescape
from importlib import import_module
from typing import get_args

import msgspec
import pytest
from blocks import CHECKOUT, blocks, tagged
from test_layers import LAYERS

from pyshard.bootstrap.plugin import Options as BootstrapOptions
from pyshard.errors import BY_CODE
from pyshard.model import config_file
from pyshard.model.document_size import measure
from pyshard.model.replica_group import new_group
from pyshard.net.connection_url import QUERY_NAMES, ConnectionUrl, parse_url
from pyshard.protocol.batch_operations import LONGEST_TTL, Run
from pyshard.protocol.command_boxes import BOOTSTRAP, EITHER, SHARD, Command
from pyshard.protocol.commands import COMMANDS, GoAway
from pyshard.security.tls import Tls
from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings
from pyshard.shard.plugin import Options
from pyshard.storage import Durability

#: Where the blocks of each kind are run.
RUN_BY = {
    "run: up": "tests/functional/test_readme.py",
    "run: sh": "tests/functional/test_readme.py",
    "run: pycon": "tests/functional/test_readme.py",
    "run: python": "tests/functional/test_readme.py, tests/test_docs.py or tests/backup/test_backup.py",
    "run: output": "tests/functional/test_readme.py",
    "run: daemons": "tests/functional/test_readme.py",
    "run: end": "tests/functional/test_readme.py",
    "run: stock": "tests/functional/test_readme.py",
    "run: config": "tests/test_docs.py",
    "run: config with replicas": "tests/test_docs.py",
    "run: cli": "tests/functional/test_cli.py",
    "run: backup": "tests/functional/test_readme.py",
    "run: restore": "tests/functional/test_readme.py or tests/functional/test_cli.py",
    "run: tls": "tests/functional/test_tls_recipe.py",
    "run: tls python": "tests/functional/test_tls_recipe.py",
    "run: tutorial install": "tests/test_docs_figures.py, and by hand: CONTRIBUTING.md says when",
    "run: tutorial config": "tests/functional/test_tutorial.py",
    "run: tutorial program": "tests/functional/test_tutorial.py",
    "run: tutorial": "tests/functional/test_tutorial.py",
    "run: tutorial output": "tests/functional/test_tutorial.py",
    "run: tutorial unavailable": "tests/functional/test_tutorial.py",
    "run: errors": "tests/test_docs_errors.py",
    "run: tokens": "tests/functional/test_tokens.py",
    "run: outside": "tests/functional/test_containers.py",
    "run: kubernetes": "tests/test_containers.py",
    "ci: tests": ".ci/run",
}

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{page.name}" for page in (CHECKOUT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md"])
def test_every_block_is_run(page: str) -> None:
    """A block that nothing runs has no place in a page for users."""
    assert [block.text for block in blocks(page) if block.tag not in RUN_BY] == []


@pytest.mark.parametrize("number", range(len(tagged("docs/testing.md", "run: python"))))
def test_testing_guide(number: int) -> None:
    """The examples of docs/testing.md work as printed."""
    exec(compile(tagged("docs/testing.md", "run: python")[number], "docs/testing.md", "exec"), {})


def test_config_with_replicas() -> None:
    """The config in docs/availability.md has three replicas, with what is the default anyway."""
    (text,) = tagged("docs/availability.md", "run: config with replicas")
    group = config_file.parse(text.encode()).map.shards[0].group
    assert group is not None
    assert group == new_group(group.replicas)


def test_config_file() -> None:
    """The config file in docs/running.md is etc/shards.json, with the default bootstrap spelled out."""
    (text,) = tagged("docs/running.md", "run: config")
    assert config_file.parse(text.encode()) == config_file.load(CHECKOUT / "etc" / "shards.json")


#: Paths that pages name, of files that a bootstrap makes, or an operator.
MADE_BY_DAEMONS = {"etc/shards.state", "etc/shards.state.lock", "etc/docker/tokens"}

#: A file that docs/tutorial.md has its reader write.
MADE_BY_READERS = {"app.py"}


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_pages_exist(page: str) -> None:
    """A path that a page names is there; one of a module may begin in the package or in tests/."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w/])((?:docs|etc|examples|pyshard|tests)/[\w./-]*\w)\b", text)) - MADE_BY_DAEMONS
    assert [path for path in sorted(named) if not (CHECKOUT / path).exists()] == []
    modules = set(re.findall(r"(?<![\w/.])((?:\w+/)*\w+\.py)\b", text)) - MADE_BY_READERS
    roots = (CHECKOUT, CHECKOUT / "pyshard", CHECKOUT / "tests")
    assert [path for path in sorted(modules) if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    """A link or picture of a page that leads to no other site leads to a file of the checkout."""
    folder = (CHECKOUT / page).parent
    targets = re.findall(r"\]\(([^)#]+)\)", (CHECKOUT / page).read_text(encoding="utf-8"))
    assert [target for target in targets if ":" not in target and not (folder / target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_names_in_pages_exist(page: str) -> None:
    """A dotted name of pyshard that a page gives is a module, or something in one."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    assert [name for name in sorted(set(re.findall(r"(?<![\w/])pyshard(?:\.\w+)+", text))) if not _exists(name)] == []


def _exists(name: str) -> bool:
    """Whether a dotted name can be imported, or is an attribute of something that can."""
    module, _, attribute = name.rpartition(".")
    try:
        import_module(name)
    except ImportError:
        return bool(module) and _exists(module) and hasattr(_object(module), attribute)
    return True


def _object(name: str) -> object:
    """What a dotted name that exists stands for."""
    try:
        return import_module(name)
    except ImportError:
        module, _, attribute = name.rpartition(".")
        found: object = getattr(_object(module), attribute)
        return found


def test_floors_in_architecture() -> None:
    """The table of floors is the list of layers, from the ground up."""
    text = (CHECKOUT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## The floors")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)/?` \|", table, re.MULTILINE) == LAYERS


def test_picture_of_architecture() -> None:
    """docs/architecture.svg shows what docs/architecture.dot says; CONTRIBUTING.md has the command that makes it."""
    source = (CHECKOUT / "docs/architecture.dot").read_text(encoding="utf-8")
    picture = unescape((CHECKOUT / "docs/architecture.svg").read_text(encoding="utf-8"))
    said = [line.strip() for label in re.findall(r'label="([^"]*)"', source) for line in label.split(r"\n")]
    shown = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    assert sorted(said) == sorted(shown)


def test_limits_in_protocol() -> None:
    """docs/protocol.md gives the limits that the code has."""
    text = (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8")
    for number in (
        settings.MAX_BOX_KEYS,
        settings.MAX_BOX_BYTES,
        settings.MAX_BATCH,
        settings.MAX_RUNS,
        settings.MAX_DOCUMENT_BYTES,
        settings.MAX_KEY_BYTES,
        settings.BATCH_KEY_BYTES,
        settings.MAX_NAME,
        settings.MAX_INDEXES,
        settings.MAX_STATE_BYTES,
        settings.PAGE_KEYS,
        settings.ITEM_OVERHEAD,
        settings.EXPIRY_OVERHEAD,
        LONGEST_TTL,
        settings.STRANGER_BOX_KEYS,
        settings.STRANGER_BOX_BYTES,
        settings.MAX_SECRET,
    ):
        assert f"{number:,}" in text, number


@pytest.mark.parametrize("command", [*COMMANDS.values(), GoAway], ids=lambda command: command.__name__)
def test_commands_in_protocol(command: type[Command]) -> None:
    """docs/protocol.md has a section on each command, with the type of each argument and each value of its answer."""
    text = (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8")
    sections = re.findall(r"^##+ ([\w, ]+)\n(.*?)(?=^##+ )", text, re.MULTILINE | re.DOTALL)
    ((names, section),) = [found for found in sections if command.__name__ in found[0].split(", ")]
    told = dict(re.findall(r"`(\w+)`(?: \(| \| |, )(Integer|Boolean|Text|Bytes|ChunkedBytes)\b", section))
    for name, argument in [*command.arguments, *command.response]:
        assert told[name.decode()] == type(argument).__name__
        if argument.optional:
            assert f"`{name.decode()}` | {type(argument).__name__}, optional |" in section
    commands: list[type[Command]] = [*COMMANDS.values(), GoAway]
    together = [each for each in commands if each.__name__ in names.split(", ")]
    known = {name.decode() for each in together for name, _ in [*each.arguments, *each.response]}
    assert told.keys() <= {"name", *known}


def test_who_answers_what_in_protocol() -> None:
    """docs/protocol.md says of each command which daemon answers it, and which role it takes."""
    text = (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8")
    rows = {
        first: set(re.findall(r"\b[A-Z]\w+", rest))
        for first, rest in re.findall(r"^\| ([\w`, ]+) \| (.*) \|$", text, re.MULTILINE)
    }
    kinds = {"either daemon": EITHER, "a shard": SHARD, "the bootstrap": BOOTSTRAP}
    answered = {
        kinds[kind]: set(names.split(", "))
        for names, kind in re.findall(r"^\| ([\w, ]+) \| (either daemon|a shard|the bootstrap) \|$", text, re.MULTILINE)
    }
    for kind in kinds.values():
        assert answered[kind] == {one.__name__ for one in COMMANDS.values() if one.answered_by == kind}
    for role in (None, *Role):
        named = rows["none" if role is None else f"`{role.word}`"]
        assert {one.__name__ for one in COMMANDS.values() if one.role is role} == named - (
            {"Apply"} if role is Role.WRITE else set()
        )


def test_errors_in_protocol() -> None:
    """docs/protocol.md has each code by which a daemon refuses something."""
    text = (
        (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8").partition("\n## Errors\n")[2].partition("\n## ")[0]
    )
    told = set(re.findall(r"`([A-Z_]{5,})`", text)) - {"UNHANDLED"}
    of_clients = {
        "BACKUP_DAMAGED", "BACKUP_FAILED", "CLIENT_CLOSED", "INVALID_ARGUMENT", "INVALID_DOCUMENT", "INVALID_KEY",
        "NOT_EMPTY", "NOT_TRUSTED", "OUTCOME_UNKNOWN", "PARTIAL_FAILURE", "PYSHARD_ERROR", "RESTORE_INCOMPLETE",
        "UNAVAILABLE", "UNREADABLE_RECORD", "WRONG_EVENT_LOOP",
    }  # fmt: skip
    assert told == set(BY_CODE) - of_clients


@pytest.mark.parametrize("run", get_args(Run), ids=lambda run: run.__struct_config__.tag)
def test_runs_in_protocol(run: type[msgspec.Struct]) -> None:
    """docs/protocol.md has each run with its columns, in their order."""
    text = (CHECKOUT / "docs/protocol.md").read_text(encoding="utf-8")
    assert f'\n| `["{run.__struct_config__.tag}", {", ".join(run.__struct_fields__)}]` |' in text


@pytest.mark.parametrize("page", ["docs/running.md", "docs/storage.md"])
def test_modes_of_durability(page: str) -> None:
    """Each mode has a row in the tables, in the same order; the default one comes first, and says so."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`( \(default\))? \| .*(?:disk|log).* \| nothing \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == [mode.value for mode in Durability]
    assert [bool(default) for _, default in rows] == [True, False, False]


def test_default_port() -> None:
    """The port that README and protocol print is the default."""
    assert Options().defaults["port"] == settings.SHARD_PORT == 5050


def test_daemons_are_started_alike() -> None:
    """README.md and docs/running.md start the daemons by the same commands, of which only the README's are run."""
    assert tagged("README.md", "run: daemons") == tagged("docs/running.md", "run: daemons")


def test_readme_is_short() -> None:
    """What is longer than a page goes to docs/."""
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").split()) <= 700


@pytest.mark.parametrize(
    ("document", "size"),
    [
        ("hello world", 49 + 11),
        ("é", 73 + 1),
        ("…", 74 + 2),
        ("😀", 76 + 4),
        (b"ab", 33 + 2),
        (2**30 - 1, 28),
        (2**30, 32),
        (0, 24),
        (2.5, 24),
        (False, 24),
        (True, 28),
        (None, 16),
        ({"hello": "world"}, 49 + 5),
        ([2, 3], 28 + 28),
        ([], 0),
        ({}, 0),
    ],
)
def test_sizes(document: object, size: int) -> None:
    """The sizes that docs/python.md explains are those that documents have."""
    assert measure(document) == size


def test_address_as_a_url() -> None:
    """The URL in docs/python.md says what the table beside it says, and the table has each name that a URL can have."""
    text = (CHECKOUT / "docs/python.md").read_text(encoding="utf-8")
    (url,) = re.findall(r"^    (pyshard://.+)$", text, re.MULTILINE)
    hosts = (("db1", 9192), ("db2", 9192))
    assert parse_url(url) == ConnectionUrl(hosts, "pages", 5, "/srv/app/token", Tls("/srv/app/ca.pem"))
    rows = "".join(re.findall(r"^(\| `.*=.*` \|).*\|.*\|$", text, re.MULTILINE))
    assert re.findall(r"`(\w+)=", rows) == list(QUERY_NAMES)


def test_options_of_daemons() -> None:
    """Each option of the two daemons stands in the table of docs/running.md, with the daemons that have it."""
    text = (CHECKOUT / "docs/running.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`--.*) \| (shard|bootstrap|both) \|", text, re.MULTILINE)
    told = {(option, which) for options, which in rows for option in re.findall(r"`--([\w-]+)", options)}
    shard, bootstrap = (
        {option.rstrip("=") for option in options.longOpt} - {"version", "help"}
        for options in (Options(), BootstrapOptions())
    )
    assert told == {
        *((option, "both") for option in shard & bootstrap),
        *((option, "shard") for option in shard - bootstrap),
        *((option, "bootstrap") for option in bootstrap - shard),
    }
