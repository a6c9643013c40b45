"""docs/containers.md and etc/docker/ can be believed: daemons and clients take what they say, and it fits together."""

from __future__ import annotations

import json
import re

import pytest
from blocks import CHECKOUT
from containers import COMPOSE, CONFIG, IMAGE, KUBERNETES, OUTSIDE, PAGE, WITH_ETCD, commands, image_words, lists
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions

from pyshard.bootstrap.plugin import BootstrapOptions
from pyshard.bootstrap.state_stores.state_address import EtcdAddress, state_address
from pyshard.model import config_file
from pyshard.model.address_mapping import mapping_by, mapping_in
from pyshard.model.address_text import split_listening
from pyshard.net.connection_url import parse_url
from pyshard.server.listen_address import is_local, reached_at
from pyshard.shard.plugin import ShardOptions

FILES = {"compose": COMPOSE, "kubernetes": KUBERNETES}
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


@pytest.mark.parametrize("file", FILES)
def test_commands(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """twistd and the plugins take each command; daemons are guarded, and data is in a directory of the volume."""
    found = dict(options_of(words, monkeypatch) for words in commands(FILES[file]))
    assert found.keys() == PLUGINS.keys()
    shard, bootstrap = found["pyshard-shard"], found["pyshard-bootstrap"]
    assert split_listening(shard["listen"]) == ("0.0.0.0", 5050)
    assert shard["data-dir"].startswith("/data/")
    assert bootstrap["state"].startswith("/data/")
    assert bootstrap["config"] == "/config/shards.json"
    assert shard["token-file"] == bootstrap["token-file"] != ""
    mounted = re.findall(r'"\w+:(/data)"|mountPath: (/data)\b', FILES[file])
    assert len(mounted) == (4 if file == "compose" else 2)


@pytest.mark.parametrize("text", [*FILES.values(), WITH_ETCD], ids=[*FILES, "with etcd"])
def test_yaml(text: str) -> None:
    """As far as can be told without a parser, it is YAML: spaces, a name and a value in each line, closed brackets."""
    for line in text.splitlines():
        assert re.fullmatch(r"|---|#.*|(?:  )*(?:- )?(?:[\w-]+|<<):(?: \S.*)?", line), line
        for opened, closed in ("[]", "{}"):
            assert line.count(opened) == line.count(closed), line


def test_with_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bootstraps have their state in the three members, which know each other, and nobody else reaches these."""
    *members, first, second = commands(WITH_ETCD)
    names = ["etcd0", "etcd1", "etcd2"]
    assert first == second
    _, options = options_of(first, monkeypatch)
    state = state_address(options["state"])
    assert isinstance(state, EtcdAddress)
    assert state.members == tuple((name, 2379) for name in names)
    (_, base), (_, again) = options_of(commands(COMPOSE)[1], monkeypatch), options_of(second, monkeypatch)
    assert {name: value for name, value in base.items() if again[name] != value}.keys() == {"state"}
    together = ",".join(f"{name}=http://{name}:2380" for name in names)
    for name, (program, *words) in zip(names, members, strict=True):
        said = dict(word.removeprefix("--").split("=", 1) for word in words)
        assert (program, said["name"], said["initial-cluster"]) == ("etcd", name, together)
        assert said["advertise-client-urls"] == f"http://{name}:2379"
        assert said["initial-advertise-peer-urls"] == f"http://{name}:2380"
        assert said["data-dir"].startswith("/data/")
    services = WITH_ETCD.partition("\nservices:\n")[2].partition("\nnetworks:")[0]
    assert re.findall(r"^  (\w+):$", services, re.MULTILINE) == [*names, "bootstrap", "bootstrap1"]
    assert re.findall(r"ports: (.*)$", WITH_ETCD, re.MULTILINE) == ['["19193:9192"]']
    assert re.findall(r"networks: (.*)$", WITH_ETCD, re.MULTILINE) == ["[state]", *["[default, state]"] * 2]
    assert "\nnetworks:\n  state:\n    internal: true\n" in WITH_ETCD
    fields = re.findall(r"^  (?!image|build|command)(\w+): (.*)$", COMPOSE.partition("\nx-shard")[0], re.MULTILINE)
    for field, value in fields:  # what all daemons have, the second bootstrap has
        assert f"    {field}: {value}\n" in services.partition("  bootstrap1:\n")[2], field


def test_config() -> None:
    """The shards are the services of the compose file, and the bootstrap listens where it can be reached."""
    config = config_file.parse(CONFIG.encode())
    services = re.findall(r"^  (\w+):$", COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:")[0], re.MULTILINE)
    assert services == [*(shard.host for shard in config.map.shards), config.bootstrap_host]
    assert not is_local("tcp:9192:interface=" + (config.bootstrap_listen or "").partition(":")[0])


def test_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published, checked and probed is where the daemons listen, and what the config file announces."""
    config = config_file.parse(CONFIG.encode())
    ports = {shard.port for shard in config.map.shards}
    assert ports == {5050}
    assert reached_at(config.bootstrap_listen or "") == ("127.0.0.1", config.bootstrap_port)
    published = re.findall(r'^    ports: \["\d+:(\d+)"\]$', COMPOSE, re.MULTILINE)
    checked = [re.findall(r"127\.0\.0\.1', (\d+)", words[-1])[0] for words in lists(COMPOSE, "test")]
    probed = re.findall(r"tcpSocket: \{port: (\d+)\}", KUBERNETES)
    served = re.findall(r"ports: \[\{port: (\d+)\}\]", KUBERNETES)
    assert published == ["5050", "5050", "5050", "9192"]
    assert checked == probed == served == ["5050", "9192"]


def test_mapping() -> None:
    """Each way to say the mapping names shards of the config file, and ports that the compose file publishes."""
    config = config_file.parse(CONFIG.encode())
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", OUTSIDE, re.MULTILINE))
    mapping = mapping_by(environment)
    published = [int(port) for port in re.findall(r'^    ports: \["(\d+):5050"\]$', COMPOSE, re.MULTILINE)]
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
    setup = (CHECKOUT / "setup.py").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\d+):(\d+)$", IMAGE, re.MULTILINE) + re.findall(
        r"-o (\d+) -g (\d+) -m 700 /data", IMAGE
    )
    users += re.findall(r"runAsUser: (\d+), runAsGroup: (\d+), fsGroup: 1000", KUBERNETES)
    assert set(users) == {("1000", "1000")}
    assert len(users) == 4
    pythons = re.findall(r"^FROM python:(3\.\d+)-slim", IMAGE, re.MULTILINE)
    assert (len(pythons), len(set(pythons))) == (2, 1)  # what is built for one runs on the other
    assert f"Python :: {pythons[0]}" in setup
    (extra,) = re.findall(r'"\.\[(\w+)\]"', IMAGE)
    assert f'"{extra}": [' in setup


def test_what_the_image_is_built_from() -> None:
    """It gets what is copied into it, and nothing else; all of that is here, and nothing of it is a secret's place."""
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", IMAGE, re.MULTILINE)
    ignored = (CHECKOUT / "etc/docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    names = sorted(name for line in copied for name in line.split())
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == names
    assert ignored[1] == "*"
    assert [name for name in names if not (CHECKOUT / name).exists()] == []
    assert re.findall(r"^(?:ARG|ENV) (?!PATH=).*$", IMAGE, re.MULTILINE) == []


def test_what_the_image_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it is a shard as the compose file has them, and drains when it is stopped."""
    shard = [*image_words("ENTRYPOINT"), *image_words("CMD")]
    assert shard == commands(COMPOSE)[0]
    assert options_of(shard, monkeypatch)[0] == "pyshard-shard"
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", IMAGE, re.MULTILINE)
    assert ["CMD", *json.loads(check)] == lists(COMPOSE, "test")[0]
    assert "\nSTOPSIGNAL SIGTERM\n" in IMAGE
    assert IMAGE.index("\nUSER ") < IMAGE.index("\nENTRYPOINT ")
    assert re.findall(r"^EXPOSE (.*)$", IMAGE, re.MULTILINE) == ["5050 9192"]


def test_config_is_json_for_a_config_map() -> None:
    """The same file, with the names that Kubernetes gives, is a config file, too."""
    config = json.loads(CONFIG)
    for number, shard in enumerate(config["shards"]):
        shard["host"] = f"shard-{number}.shards"
    assert config_file.parse(json.dumps(config).encode()).bootstrap_host == "bootstrap"
    text = KUBERNETES
    assert "serviceName: shards" in text
    assert re.findall(r"kind: StatefulSet\nmetadata: \{name: (\w+)\}", text) == ["shard", "bootstrap"]
