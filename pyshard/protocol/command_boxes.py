"""What a command is: its name, its role, who answers it, and how values of it become boxes and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from pyshard.errors import BadRequest
from pyshard.protocol.argument_types import WireArgument
from pyshard.protocol.boxes import Box
from pyshard.security.tokens_and_roles import Role

#: The arguments of a command, or of its answer: the name of each, and its type.
ArgumentList: TypeAlias = Sequence[tuple[bytes, WireArgument[Any]]]

#: For commands, and answers, without arguments.
NOTHING: ArgumentList = ()

#: Kinds of daemons, as `Hello` tells them; `EITHER` stands for both.
SHARD, BOOTSTRAP, EITHER = "shard", "bootstrap", "shard or bootstrap"


class UnreadableAnswer(Exception):
    """The peer answered, but its answer can't be read: nobody knows whether the command was carried out."""


class Command:
    """Base of every command: what crosses the wire for one, as values and as boxes.

    :cvar commandName: its name on the wire.
    :cvar role: the least role that a peer must have; None: anyone may ask, authenticated or not.
    :cvar answered_by: which kind of daemon answers it.
    """

    commandName: ClassVar[bytes]
    arguments: ClassVar[ArgumentList] = NOTHING
    response: ClassVar[ArgumentList] = NOTHING
    role: ClassVar[Role | None]
    answered_by: ClassVar[str] = EITHER

    @classmethod
    def question(cls, values: Mapping[str, object]) -> Box:
        """The box with these arguments.

        :raises TypeError: the command has no such argument.
        :raises KeyError: one is missing.
        """
        known = {name.decode() for name, _ in cls.arguments}
        if not values.keys() <= known:
            raise TypeError(f"{cls.__name__} has no argument {', '.join(sorted(values.keys() - known))}")
        return _box_of(values, cls.arguments)

    @classmethod
    def part(cls, values: Mapping[str, object]) -> Box:
        """A box with these of the arguments alone: the others come behind it, or before."""
        return _box_of(values, [(name, kind) for name, kind in cls.arguments if name.decode() in values])

    @classmethod
    def arguments_in(cls, box: Mapping[bytes, bytes]) -> dict[str, Any]:
        """The arguments, out of the box that asks.

        :raises BadRequest: one is missing or malformed.
        """
        return _values_in(box, cls.arguments)

    @classmethod
    def answer(cls, values: Mapping[str, object]) -> Box:
        """The box of the answer with these arguments.

        :raises KeyError: one is missing.
        """
        return _box_of(values, cls.response)

    @classmethod
    def answer_in(cls, box: Mapping[bytes, bytes]) -> dict[str, Any]:
        """The answer's arguments, out of its box.

        :raises UnreadableAnswer: one of them is missing or malformed.
        """
        try:
            return _values_in(box, cls.response)
        except BadRequest as error:
            raise UnreadableAnswer(f"the answer to {cls.__name__} can't be read: {error}") from None


def _box_of(values: Mapping[str, object], kinds: ArgumentList) -> Box:
    box: Box = {}
    for name, kind in kinds:
        kind.put(box, name, values.get(name.decode()))
    return box


def _values_in(box: Mapping[bytes, bytes], kinds: ArgumentList) -> dict[str, Any]:
    return {name.decode(): kind.take(box, name) for name, kind in kinds}
