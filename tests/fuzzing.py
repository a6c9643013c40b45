"""Hostile bytes, and what must come of them: a seeded generator, and a model of what a daemon owes to whoever sends.

`Hostile` makes the bytes; `owed` says, from docs/protocol.md alone, which commands are to be answered and whether the
connection is to be closed. Everything comes from a `Random`, so that a seed repeats a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from pyshard.errors import BY_CODE
from pyshard.protocol import commands
from pyshard.protocol.boxes import LONGEST_VALUE, Box, serialize
from pyshard.protocol.chunked_arguments import ChunkedBytes, put_chunks

#: A box under construction: what is wrong with it may be that a key comes twice.
Pairs = list[tuple[bytes, bytes]]

NUMBERS = [
    b"", b"0", b"1", b"-1", b"+1", b" 1 ", b"1_0", b"1e3", b"1.5", b"0x10", b"01", b"True", b"None", b"nan", b"\0",
    "²".encode(), "٣".encode(), b"\xff", b"\xc2\xb2", b"10000000", b"9999999", b"999999", b"%d" % 2**63, b"%d" % 2**64,
    b"-%d" % 2**63, b"9" * 4300, b"9" * 4301, b"-" + b"9" * 65_000,
]  # fmt: skip
TEXTS = [
    b"", b"pages", b"hostile", b"shard0", b"shard1", b"a b", b"\n", b"\0", b"..", b"/", b"\x1b[2J", b"\xff\xfe",
    b"\xed\xa0\x80", "é²страницы".encode(), b"x" * 100, b"x" * 101, b"\xf0\x9f\x92\xa9" * 16_000, b"-1", b"{}", b"%s{}",
]  # fmt: skip
BOOLEANS = [b"True", b"False", b"", b"true", b"1", b"\xff"]
NAMES = [b"", b"Nothing", b"apply", b"StartTLS", b"ProtocolSwitch", b"\xff" * 300, b"N" * LONGEST_VALUE]
TAGS = [b"1", b"2", b"a", b"+1", b"", b"\0", b"\xff" * 9, b"t" * LONGEST_VALUE]
VERBS = ["read", "has", "item", "write", "pop", "remove", "touch", "increment"]
DOCUMENTS: list[bytes] = [
    b"", b"\x01", b"\x01\0\0\0\0", b"\x01\0\0\0\x1c\x01", b"\x02\0\0\0\0\x01", b"\x01\0\0\0\0\xc1",
    b"\x01\0\0\0\0" + b"\x91" * 2000, b"\x01\0\0\0\0\xdd\xff\xff\xff\xff", b"\x01\0\0\0\0\xdf\xff\xff\xff\xff",
    b"\x01\0\0\0\0\xc6\xff\xff\xff\xff", b"\x01\0\0\0\0\xd6\xff\0\0\0\0", b"\x01\0\0\0\0\xc7\x0c\xff" + b"\xff" * 12,
    b"\x01\0\0\0\0\xd4\x05\0", b"\x01\0\0\0\0\xc7\x00\x01", b"\x01\0\0\0\0\x81\x80\x01",
    b"\x01\0\0\0\0\x82\xa1a\x01\xa1a\x02",
    b"\x01\0\0\0\0\xa2\xff\xff", b"\x01\0\0\0\0\xcf" + b"\xff" * 8, b"\x01\0\0\0\0\xc7\x40\x01" + b"\x7f" * 64,
]  # fmt: skip
#: What stands in answers in place of what should.
SPOILT: list[Any] = [
    None, True, False, 0, -1, 2**64 - 1, 1.5, "", "text", b"", b"\xff", [], {}, [[]], [None, {}],
    {0: ["SHARD_FULL", "x"]},
    {7: ["X", "y"]}, {0: ["WRONG_SHARD", ""]}, {0: ["ANSWER_FULL", ""]}, {-1: ["X", "y"]}, {0: 1},
    *[bytes(8) + record for record in DOCUMENTS], *[bytes(24) + record for record in DOCUMENTS], *DOCUMENTS,
]  # fmt: skip

#: Values for the fields of a cluster state.
VALUES: list[object] = [
    None, -1, 0, 2**31, 2**63, 2**64, 10**400, 1.5, float("nan"), "", "x" * 300, [], {}, [{}, {}], {"a": 1, "b": 1},
    {"a": 2**40}, True, "\ud800", "\0",
]  # fmt: skip


class Hostile:
    """Makes hostile bytes.

    :param random: all chance.
    :param recorded: boxes of honest peers, to be replayed and spoilt.
    :ivar boxes: how many it has made.
    """

    def __init__(self, random: Random, recorded: Sequence[bytes] = ()) -> None:
        self.random = random
        self.recorded = recorded
        self.boxes = 0

    def attack(self) -> list[bytes]:
        """Some boxes, or what looks like boxes, in the pieces in which they are to be sent."""
        data = b"".join(self.anything() for _ in range(self.random.choice([1, 1, 1, 2, 3, 10])))
        if self.random.random() < 0.7:
            return [data]
        if len(data) < 300 and self.random.random() < 0.3:
            return [data[at : at + 1] for at in range(len(data))]
        cuts = sorted(self.random.randrange(len(data) + 1) for _ in range(self.random.randrange(6)))
        return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def anything(self) -> bytes:
        """One box, or what was one."""
        self.boxes += 1
        kinds: list[Callable[[], bytes]] = [self.command] * 8 + [self.stray, self.garbage, self.oversized]
        if self.recorded:
            kinds += [self.replayed, self.flipped, self.flipped, self.cut]
        return self.random.choice(kinds)()

    # ------------------------------------------------------------------ boxes

    def command(self) -> bytes:
        """A command with a tag: any name, any arguments."""
        random = self.random
        command = random.choice(list(commands.COMMANDS.values()))
        pairs: Pairs = [(b"_ask", self.tag())] if random.random() < 0.97 else []
        name = command.commandName if random.random() < 0.93 else random.choice(NAMES)
        pairs.append((b"_command", name))
        arguments = (
            command.arguments if random.random() < 0.95 else random.choice(list(commands.COMMANDS.values())).arguments
        )
        for argument, kind in arguments:
            if random.random() < 0.95:
                pairs += self.chunks(argument) if isinstance(kind, ChunkedBytes) else [(argument, self.value(kind))]
        if random.random() < 0.1:
            pairs.append((self.text()[:255] or b"k", self.text()))
        if random.random() < 0.1:
            random.shuffle(pairs)
        return box_of(pairs)

    def tag(self) -> bytes:
        """A tag for a command or an answer."""
        return self.random.choice(TAGS) if self.random.random() < 0.2 else b"%x" % self.random.randrange(1 << 32)

    def stray(self) -> bytes:
        """An answer or error that nobody asked for, or a box that is nothing."""
        random = self.random
        error = [(b"_error", self.tag()), (b"_error_code", self.text()[:50]), (b"_error_description", self.text())]
        boxes: list[Pairs] = [
            [], [(b"k", b"v")], [(b"_ask", b"1")], [(b"_command", b"Ping")], [(b"_answer", self.tag())], error,
            error[:1], error[:2], [(b"_answer", b"1"), *error],
            [(b"_answer", b"1"), (b"_command", b"Ping"), (b"_ask", b"1")],
        ]  # fmt: skip
        return box_of(random.choice(boxes))

    def garbage(self) -> bytes:
        """No box."""
        random = self.random
        heads = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0", b"\0\1k", b"\xff\xff", b"\1\0", b"\0\xff"]
        return random.choice(heads) + random.randbytes(random.choice([0, 1, 2, 50, 1000]))

    def oversized(self) -> bytes:
        """Boxes past a limit, or just at it."""
        ping: Pairs = [(b"_ask", b"1"), (b"_command", b"Ping")]
        keys = self.random.choice([7, 9, 317, 318, 319, 400])
        boxes: list[Pairs] = [
            ping + [(b"k%d" % number, b"") for number in range(keys)],
            ping + [(b"k", b"v")] * keys,
            [*ping, (b"k", b"v" * self.random.choice([900, 1000, 1024, LONGEST_VALUE]))],
            [*ping, (b"k" * 255, b"")],
        ]
        if self.random.random() < 0.02:  # it is slow
            boxes = [ping + [(b"k%d" % number, b"v" * LONGEST_VALUE) for number in range(289)]]
        return box_of(self.random.choice(boxes))

    def replayed(self) -> bytes:
        """What an honest peer said."""
        return self.random.choice(self.recorded)

    def flipped(self) -> bytes:
        """What an honest peer said, but for some bits."""
        data = bytearray(self.replayed())
        for _ in range(self.random.choice([1, 1, 2, 8])):
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def cut(self) -> bytes:
        """What an honest peer said, without its end, or without a piece of it."""
        data = self.replayed()
        begin, end = sorted(self.random.randrange(len(data) + 1) for _ in range(2))
        return data[:begin] if self.random.random() < 0.5 else data[:begin] + data[end:]

    def spoilt(self, box: Box) -> bytes:
        """What a liar gives in place of an honest answer."""
        random, data = self.random, serialize(box)
        tag = box.get(b"_answer", box.get(b"_error", b""))
        name = random.choice([one for one in box if not one.startswith(b"_")] or [b"epoch"])
        kind = random.randrange(12)
        if kind == 0:
            return random.choice([b"", data + data, data + self.stray(), self.stray() + data, data + self.command()])
        if kind == 1:
            return data[: random.randrange(len(data))]
        if kind == 2:
            code = random.choice([*(one.encode() for one in BY_CODE), b"UNHANDLED", b"UNKNOWN", b"", b"\xff"])
            return serialize({b"_error": tag, b"_error_code": code, b"_error_description": self.text()})
        if kind == 3:
            return box_of([pair for pair in box.items() if pair[0] != name])
        if kind in (4, 5):
            return serialize({**box, name: random.choice([*NUMBERS, *TEXTS, *BOOLEANS])})
        if kind == 6:
            at = random.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        long = [one[:-2] for one in box if one.endswith(b".0")]
        if not long:
            return serialize({**box, name: self.text()})
        spoilt = {key: value for key, value in box.items() if not key.startswith(long[0])}
        put_chunks(
            spoilt, long[0], self.spoilt_data(b"".join(box[key] for key in box if key.startswith(long[0] + b".")))
        )
        return serialize(spoilt)

    def spoilt_data(self, data: bytes) -> bytes:
        """MessagePack or JSON, but for something in it."""
        random = self.random
        try:
            whole = msgspec.msgpack.decode(data)
        except msgspec.DecodeError:
            whole = None
        if isinstance(whole, list) and random.random() < 0.7:
            self._spoil(whole)
            return msgspec.msgpack.encode(whole)
        at = random.randrange(len(data) + 1)
        return (
            data[:at]
            + random.choice([b"", b"\xff", b"\xdd\xff\xff\xff\xff", b"}", b"9" * 400])
            + data[at + random.randrange(3) :]
        )

    def _spoil(self, array: list[Any]) -> None:
        random = self.random
        if not array or random.random() < 0.2:
            array.insert(0, random.choice(SPOILT))
            return
        at = random.randrange(len(array))
        if isinstance(array[at], list) and random.random() < 0.8:
            self._spoil(array[at])
        elif random.random() < 0.2:
            del array[at]
        else:
            array[at] = random.choice(SPOILT)

    # ------------------------------------------------------------------ arguments

    def value(self, kind: object) -> bytes:
        """A value for an argument that isn't one in chunks."""
        word = type(kind).__name__
        if word == "Integer":
            return self.random.choice(NUMBERS) if self.random.random() < 0.7 else b"%d" % self.random.randrange(5)
        if word == "Boolean":
            return self.random.choice(BOOLEANS)
        return self.text()

    def text(self) -> bytes:
        """A text that is none, or not a fine one."""
        return self.random.choice(TEXTS)

    def chunks(self, name: bytes) -> Pairs:
        """An argument in chunks, whose count may be wrong."""
        random = self.random
        data = self.state() if name == b"state" else self.batch() if name == b"batch" else self.text()
        count = -(-len(data) // LONGEST_VALUE)
        pairs = [
            (b"%s.%d" % (name, number), data[number * LONGEST_VALUE : (number + 1) * LONGEST_VALUE])
            for number in range(count)
        ]
        if random.random() < 0.85:
            return [(name, b"%d" % count), *pairs]
        wrong = random.choice([b"%d" % (count + 1), b"3", b"999999", b"1000000", *NUMBERS])
        return [(name, wrong), *pairs[: random.choice([0, 1, 400])]]

    def batch(self) -> bytes:
        """A batch, or other MessagePack, or none."""
        random = self.random
        if random.random() < 0.1:
            return random.choice(
                [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000, b"\xdc\xff\xff" + b"\x90" * 65_535, b"\x80"]
            )
        data = msgspec.msgpack.encode([self.run() for _ in range(random.choice([0, 1, 1, 1, 2, 5]))])
        if random.random() < 0.2:
            at = random.randrange(len(data))
            piece = random.choice(
                [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xa2\xff\xff", b"\xd4\x05\0", b"\xcf" + b"\xff" * 8]
            )
            data = data[:at] + piece + data[at + random.randrange(3) :]
        return data

    def run(self) -> object:
        """A run, right or wrong."""
        random = self.random
        if random.random() < 0.05:
            return random.choice([None, [], {}, [1], ["read"], ["drop", "", []], "read", [["read"]], {"read": 1}])
        count = random.choice([0, 1, 1, 2, 3, 20, 10_001 if random.random() < 0.02 else 1])
        keys = [self.key() for _ in range(count)]
        index = random.choice(
            ["", "", "pages", "nowhere", "x" * 70_000, 5, None] if random.random() < 0.3 else ["", "pages"]
        )
        verb = random.choice(VERBS)
        columns: list[object] = []
        if verb in ("write", "increment"):
            columns.append([self.record() for _ in range(count)])
        if verb == "increment":
            columns.append([self.record() for _ in range(count)])
        if verb in ("write", "pop", "remove") and random.random() < 0.5:
            columns.append([random.choice([-1, 0, 1, 2**64 - 1, -(2**63), 5]) for _ in range(count)])
        if verb == "touch" or (verb == "write" and len(columns) == 2):
            columns.append([random.choice([0, 1, 60_000, 100 * 366 * 86_400_000]) for _ in range(count)])
        if columns and random.random() < 0.1:
            columns[random.randrange(len(columns))] = random.choice(
                [[], None, [None] * count, [-1] * count, [2**64 - 1] * count, ["x"] * count, {}, [0] * (count + 1)]
            )
        return [verb, index, keys, *columns]

    def key(self) -> object:
        """A key that is none of honest peers'."""
        random = self.random
        if random.random() < 0.05:
            return random.choice([5, "text", None, b"\xff", b"", b"k" * 65_537, b"\0", []])
        return b"hostile%d" % random.randrange(100)

    def record(self) -> object:
        """A record."""
        return self.random.choice(DOCUMENTS) if self.random.random() < 0.98 else self.random.choice([5, None, "x"])

    def state(self) -> bytes:
        """A cluster state that no shard takes on."""
        random = self.random
        if random.random() < 0.2:
            texts = [
                b"",
                b"{",
                b"[" * 100_000,
                b'{"a":' * 50_000,
                b"null",
                b"\xff",
                b'{"epoch":' + b"9" * 60_000 + b"}",
            ]
            return random.choice(texts)
        shard: dict[str, object] = {
            "name": "shard0", "ranges": [[0, 10_000_000]], "size": 1 << 30, "host": "127.0.0.1", "port": 5050,
            "identity": "hostile", "durable": False,
        }  # fmt: skip
        whole: dict[str, object] = {
            "format": 4, "cluster": "c", "epoch": 1, "shards": [shard], "indexes": {"pages": 1}, "next_index": 2
        }  # fmt: skip
        for part in (shard, whole):
            for field in list(part):
                if random.random() < 0.1 and field != "identity":
                    part[field] = random.choice(VALUES)
        text = json.dumps(whole).encode()
        return text if random.random() < 0.9 else text.replace(b"epoch", b'epoch":1,"epoch')


def box_of(pairs: Pairs) -> bytes:
    """The bytes of pairs, of which a key may come twice."""
    return b"".join(serialize({key: value})[:-2] for key, value in pairs) + b"\0\0"
