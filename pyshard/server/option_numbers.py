"""Numbers that options of daemons give. Pure."""

from __future__ import annotations

from pyshard.errors import ConfigError


def whole_number(given: object, option: str, least: int) -> int:
    """The number that an option gives.

    :param option: its name, with the dashes.
    :param least: no smaller number is taken.
    :raises ConfigError: it is no such number.
    """
    text = str(given)
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and int(text) >= least):
        raise ConfigError(f"{option}: found {text!r}, expected a number from {least} to 999999999999999")
    return int(text)
