"""docs/containers.md can be believed: what its files say is what daemons and clients take, and fits together."""

from __future__ import annotations

import json
import re

import pytest
from blocks import CHECKOUT, tagged
from containers import CONFIG, OUTSIDE, PAGE, lists
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions

from pyshard.bootstrap.plugin import BootstrapOptions
from pyshard.model import config_file
from pyshard.model.address_mapping import mapping_by, mapping_in
from pyshard.model.address_text import split_listening
from pyshard.net.connection_url import parse_url
from pyshard.server.listen_address import is_local, reached_at
from pyshard.shard.plugin import ShardOptions

TAGS = ["run: compose", "run: kubernetes"]
PLUGINS: dict[str, type[usage.Options]] = {"pyshard-shard": ShardOptions, "pyshard-bootstrap": BootstrapOptions}


def options_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, usage.Options]:
    """The daemon that a command starts, and its options as the plugin parses them; what they name isn't looked at."""
    (name,) = PLUGINS.keys() & set(words)
    place = words.index(name)
    assert words[0] == "twistd"
    twistd = ServerOptions()
    twistd.parseOptions(words[1:place])
    assert twistd["nodaemon"]  # else the container would end at once
    assert twistd["pidfile"] == ""
    monkeypatch.setattr(PLUGINS[name], "postOptions", lambda _: None)
    options = PLUGINS[name]()
    options.parseOptions(words[place + 1 :])
    return name, options


@pytest.mark.parametrize("tag", TAGS)
def test_commands(tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """twistd and the plugins take each command; daemons are guarded, and data is in a directory of the volume."""
    found = dict(options_of(words, monkeypatch) for words in lists(tag, "command"))
    assert found.keys() == PLUGINS.keys()
    shard, bootstrap = found["pyshard-shard"], found["pyshard-bootstrap"]
    assert split_listening(shard["listen"]) == ("0.0.0.0", 5050)
    assert shard["data-dir"].startswith("/data/")
    assert bootstrap["state"].startswith("/data/")
    assert bootstrap["config"] == "/config/shards.json"
    assert shard["token-file"] == bootstrap["token-file"] != ""
    (text,) = tagged(PAGE, tag)
    mounted = re.findall(r'"\w+:(/data)"|mountPath: (/data)\b', text)
    assert len(mounted) == (3 if tag == "run: compose" else 2)


@pytest.mark.parametrize("tag", TAGS)
def test_yaml(tag: str) -> None:
    """As far as can be told without a parser, it is YAML: spaces, a name and a value in each line, closed brackets."""
    (text,) = tagged(PAGE, tag)
    for line in text.splitlines():
        assert re.fullmatch(r"|---|(?:  )*(?:- )?(?:[\w-]+|<<):(?: \S.*)?", line), line
        for opened, closed in ("[]", "{}"):
            assert line.count(opened) == line.count(closed), line


def test_config() -> None:
    """The shards are the services of the compose file, and the bootstrap listens where it can be reached."""
    config = config_file.parse(CONFIG.encode())
    (text,) = tagged(PAGE, "run: compose")
    services = re.findall(r"^  (\w+):$", text.partition("\nservices:\n")[2].partition("\nvolumes:")[0], re.MULTILINE)
    assert services == [*(shard.host for shard in config.map.shards), config.bootstrap_host]
    assert not is_local("tcp:9192:interface=" + (config.bootstrap_listen or "").partition(":")[0])


def test_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published, checked and probed is where the daemons listen, and what the config file announces."""
    config = config_file.parse(CONFIG.encode())
    ports = {shard.port for shard in config.map.shards}
    assert ports == {5050}
    assert reached_at(config.bootstrap_listen or "") == ("127.0.0.1", config.bootstrap_port)
    (compose,), (kubernetes,) = tagged(PAGE, TAGS[0]), tagged(PAGE, TAGS[1])
    published = re.findall(r'^    ports: \["\d+:(\d+)"\]$', compose, re.MULTILINE)
    checked = [re.findall(r"127\.0\.0\.1', (\d+)", words[-1])[0] for words in lists(TAGS[0], "test")]
    probed = re.findall(r"tcpSocket: \{port: (\d+)\}", kubernetes)
    served = re.findall(r"ports: \[\{port: (\d+)\}\]", kubernetes)
    assert published == ["5050", "5050", "9192"]
    assert checked == probed == served == ["5050", "9192"]


def test_mapping() -> None:
    """Each way to say the mapping names shards of the config file, and ports that the compose file publishes."""
    config = config_file.parse(CONFIG.encode())
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", OUTSIDE, re.MULTILINE))
    mapping = mapping_by(environment)
    (compose,) = tagged(PAGE, TAGS[0])
    published = [int(port) for port in re.findall(r'^    ports: \["(\d+):5050"\]$', compose, re.MULTILINE)]
    for shard, port in zip(config.map.shards, published, strict=True):
        assert mapping.dialed(shard.host, shard.port) == ("db.example.com", port)
    page = (CHECKOUT / PAGE).read_text(encoding="utf-8")
    first = {"shard0:5050": "db.example.com:15050"}
    (url,) = re.findall(r"`(pyshard://\S+)&address=…`", page)
    said = parse_url(url)
    assert said.addresses is not None
    assert said.addresses.texts == first
    assert f"`addresses={str(first)[:-1]}, …}}`".replace("'", '"') in page
    (option,) = re.findall(r"`--address (\S+)`", page)
    assert mapping_in([option]).texts == first
    (message,) = re.findall(r"`shard 'shard0' at (.+)`", page)
    assert mapping.shown("shard0", 5050) == message


def test_image() -> None:
    """The image's user is the one of the volumes and of the pods, and its Python and extra are what setup.py knows."""
    (text,) = tagged(PAGE, "run: image")
    setup = (CHECKOUT / "setup.py").read_text(encoding="utf-8")
    (kubernetes,) = tagged(PAGE, TAGS[1])
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE) + re.findall(r"-o (\d+) -g (\d+) -m 700 /data", text)
    users += re.findall(r"runAsUser: (\d+), runAsGroup: (\d+), fsGroup: 1000", kubernetes)
    assert set(users) == {("1000", "1000")}
    assert len(users) == 4
    (python,) = re.findall(r"^FROM python:(3\.\d+)", text, re.MULTILINE)
    assert f"Python :: {python}" in setup
    (extra,) = re.findall(r"/src\[(\w+)\]", text)
    assert f'"{extra}": [' in setup


def test_config_is_json_for_a_config_map() -> None:
    """The same file, with the names that Kubernetes gives, is a config file, too."""
    config = json.loads(CONFIG)
    for number, shard in enumerate(config["shards"]):
        shard["host"] = f"shard-{number}.shards"
    assert config_file.parse(json.dumps(config).encode()).bootstrap_host == "bootstrap"
    (text,) = tagged(PAGE, TAGS[1])
    assert "serviceName: shards" in text
    assert re.findall(r"kind: StatefulSet\nmetadata: \{name: (\w+)\}", text) == ["shard", "bootstrap"]
