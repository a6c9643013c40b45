"""The option ``--address`` of both daemons: where they dial shards that can't be reached where the map says."""

from __future__ import annotations

from twisted.python import usage

from pyshard.model.address_mapping import AddressMapping, mapping_in
from pyshard.net.client_endpoints import Dial


class ShardAddressesOption(usage.Options):
    """A command line with that option."""

    def __init__(self) -> None:
        super().__init__()
        self._detours: list[str] = []

    def opt_address(self, pair: str) -> None:
        self._detours.append(pair)

    # Not a docstring: twistd shows one with the blanks that its second line begins with.
    opt_address.__doc__ = (
        "ANNOUNCED=DIALED: where to dial a shard that can't be reached at its address in the config file, each "
        "HOST:PORT. Can be given several times."
    )

    def addresses(self) -> AddressMapping:
        """What was given.

        :raises ConfigError: one can't be used.
        """
        return mapping_in(self._detours, "--address")


def dial_by(addresses: AddressMapping, dial: Dial) -> Dial:
    """A way to dial shards at the addresses of the map."""
    return lambda host, port: dial(*addresses.dialed(host, port))
