"""What docs/containers.md and etc/docker/ say, in parts: the commands in YAML, which stand there as lists of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from blocks import CHECKOUT, tagged

PAGE = "docs/containers.md"

#: The files of etc/docker/: the compose file, what is added to it for etcd, the cluster's config file, and the image.
COMPOSE, WITH_ETCD, CONFIG, IMAGE = (
    (CHECKOUT / "etc" / "docker" / name).read_text(encoding="utf-8")
    for name in ("compose.yaml", "compose-etcd.yaml", "shards.json", "Dockerfile")
)

#: The sketch for Kubernetes on that page.
(KUBERNETES,) = tagged(PAGE, "run: kubernetes")

#: The lines of shell by which a client outside gets in.
(OUTSIDE,) = tagged(PAGE, "run: outside")


def lists(text: str, field: str) -> list[list[str]]:
    """The lists of words that stand in a field of some YAML, in their order."""
    found: list[list[str]] = [
        json.loads(words) for words in re.findall(rf"^ *{field}: (\[\".*\])$", text, re.MULTILINE)
    ]
    assert found, field
    return found


def image_words(instruction: str) -> list[str]:
    """The list of words of the image's only such instruction, in its form as JSON."""
    (text,) = re.findall(rf"^{instruction} (\[.*\])$", IMAGE, re.MULTILINE)
    found: list[str] = json.loads(text)
    return found


def commands(text: str) -> list[list[str]]:
    """The commands of containers, in their order, each with the image's entry point where it is the image's."""
    entry = image_words("ENTRYPOINT")
    return [words if words[0] in ("twistd", "etcd") else [*entry, *words] for words in lists(text, "command")]


def replaced(words: Sequence[str], others: dict[str, str]) -> list[str]:
    """The words with other texts in place of some that must stand in them, each at least once."""
    text = json.dumps(words)
    for old, new in others.items():
        assert old in text, (old, words)
        text = text.replace(old, new)
    changed: list[str] = json.loads(text)
    return changed
