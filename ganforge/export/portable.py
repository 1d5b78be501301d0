"""A generator as one function of tensors alone, fit to be written down for programs without Python.

What a network takes as a number or a word, such as truncation and noise, is made a tensor, so that none of it is frozen
into the file.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError, OptionError
from ganforge.contract.networks import Generator
from ganforge.export.noise_input import NoisePlan
from ganforge.export.reading import what_it_knows
from ganforge.sampling import can_truncate

Part = Literal["whole", "mapping", "synthesis"]

BATCHED = ("z", "labels", "styles", "noise")
"""Inputs whose first dimension is the batch."""


class Portable(nn.Module):
    """A generator, or one half of a generator by styles, with nothing but tensors for inputs.

    Args:
        network: The original on the CPU, in evaluation mode; it is copied.
        data: On which it was trained.
        part: All of it, from latents to styles, or from styles to images.
        dtype: In which it computes; its inputs and its output are float32 in each.

    Attributes:
        data: As the network knows them: without classes or sources if it never looks at labels.
        names: Of its inputs, in the order in which `forward` takes them.
        plan: Of its noise; None if it takes none.

    Raises:
        OptionError: A part of a generator that has no styles.
    """

    def __init__(
        self, network: Generator, data: DataSpec, part: Part = "whole", dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.data = what_it_knows(network, data)
        self.part = part
        self.dtype = dtype
        self.plan: NoisePlan | None = None
        if isinstance(self.network, StyleGenerator):
            if part != "mapping" and (plan := NoisePlan(self.network)).layers:
                self.plan = plan
                self.supply = plan.install(self.network)
        elif part != "whole":
            raise OptionError(f"{type(network).__name__} has no styles, and so no part={part}", "use part=whole")
        self.is_truncatable = can_truncate(network)
        self.names = self._list_names()
        self.network.to(dtype)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors in the order of `names` to examples ``[N, ...]``, or to styles ``[N, L, w_dim]``."""
        given = dict(zip(self.names, inputs, strict=True))
        given = {name: each.to(self.dtype) if each.is_floating_point() else each for name, each in given.items()}
        network = self.network
        if not isinstance(network, StyleGenerator):
            options = {"truncation": given["truncation"]} if self.is_truncatable else {}
            return network(given["z"], given.get("labels"), **options).float()  # type: ignore[no-any-return]
        styles = given["styles"] if self.part == "synthesis" else self._map(network, given)
        if self.part == "mapping":
            return styles.float()
        if self.plan is None:
            return network.synthesis(styles, "random").float()
        with self.supply.hold(given["noise"], given["fixed_noise"]):
            return network.synthesis(styles, "random").float()

    def refuse_chance(self, inputs: Sequence[Tensor]) -> None:
        """Refuse a network that draws random numbers by itself: a file could not be told which.

        Raises:
            GanforgeError: It does.
        """
        with torch.random.fork_rng(), torch.no_grad():
            before = torch.get_rng_state()
            self(*inputs)
            if not torch.equal(before, torch.get_rng_state()):
                raise GanforgeError(
                    f"{type(self.network).__name__} draws random numbers in forward, which only TorchScript can write",
                    "take noise from ganforge.NoiseInjection in a StyleGenerator, or export --torchscript",
                )

    def _map(self, network: StyleGenerator, given: dict[str, Tensor]) -> Tensor:
        """Styles, truncated between both ends: so nothing in a network may depend on the number itself."""
        plain = network.mapping(given["z"], given.get("labels"))
        truncated = torch.lerp(network.mapping(given["z"], given.get("labels"), 0.0), plain, given["truncation"])
        layer = torch.arange(network.num_styles, device=plain.device)[:, None]
        return torch.where((given["cutoff"] < 0) | (layer < given["cutoff"]), truncated, plain)

    def _list_names(self) -> list[str]:
        noise = ["noise", "fixed_noise"] if self.plan else []
        if self.part == "synthesis":
            return ["styles", *noise]
        labels = ["labels"] if self.data.is_conditional else []
        truncation = ["truncation"] if self.is_truncatable else []
        cutoff = ["cutoff"] if isinstance(self.network, StyleGenerator) else []
        return ["z", *labels, *truncation, *cutoff, *noise]
