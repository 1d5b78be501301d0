"""Section ``networks``: further generators and discriminators of a recipe, by name.

::

    [networks.backward]
    player = "generator"     # in whose steps it is trained, and the kind of the part
    name = "resnet"          # the part, with its options
    data = "sources"         # draws or judges source images instead of examples
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry

Player = Literal["generator", "discriminator"]
Side = Literal["examples", "sources"]


@dataclass(frozen=True)
class NetworkConfig:
    """A further network: its key, the player that trains it, its part with all options, and what it draws or judges."""

    key: str
    player: Player
    name: str
    data: Side
    options: Mapping[str, Any]

    def spec(self, data: DataSpec) -> DataSpec:
        """Return the data for its constructor: with ``sources``, source images and examples change places.

        Raises:
            OptionError: The data have no source images.
        """
        if self.data == "sources" and not data.source_shape:
            raise OptionError(
                f"networks.{self.key}.data is sources, but the data have none",
                "add --set data.sources=FOLDER, or use paired data",
            )
        return data if self.data == "examples" else DataSpec(data.source_shape, source_shape=data.shape)


def read_network(registry: Registry, key: str, settings: Mapping[str, Any]) -> NetworkConfig:
    """Return the configuration of one network; raise `OptionError` if it is invalid."""
    where, options = f"networks.{key}", dict(settings)
    if not re.fullmatch("[a-z0-9-]+", key):
        raise OptionError(f"{where}: the name of a network consists of lower-case letters, digits and hyphens")
    if key == "best":
        raise OptionError(f"{where}: generator-best.safetensors is a file of every run", "choose another name")
    for needed in ("player", "name"):
        if needed not in options:
            raise OptionError(f"{where} has no {needed}", 'such as player = "generator", name = "dcgan"')
    player = cast(Player, coerce(options.pop("player"), Player, f"{where}.player"))
    name = coerce(options.pop("name"), str, f"{where}.name")
    side = cast(Side, coerce(options.pop("data", "examples"), Side, f"{where}.data"))
    return NetworkConfig(key, player, name, side, registry.check(player, name, options))
