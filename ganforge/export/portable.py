"""A generator as a function of tensors only, for export to formats without Python.

Numbers and strings, such as truncation and noise modes, become tensors, so that the file does not freeze them.
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
from ganforge.export.inspection import effective_spec
from ganforge.export.noise_input import NoisePlan
from ganforge.sampling import can_truncate

Part = Literal["whole", "mapping", "synthesis"]

BATCHED = ("z", "labels", "styles", "noise")
"""Inputs with a batch dimension."""


class Portable(nn.Module):
    """A generator, or the mapping or synthesis network of a style-based generator, with tensor inputs.

    Args:
        network: The original on the CPU, in evaluation mode; it is copied.
        data: Training data.
        part: The whole network, from latents to styles, or from styles to images.
        dtype: Compute precision; inputs and output are float32.

    Attributes:
        data: Data from `effective_spec`.
        names: Names of the inputs, in the order of `forward`.
        plan: Plan of the noise; None without noise.

    Raises:
        OptionError: A part is requested, and the generator has no styles.
    """

    def __init__(
        self, network: Generator, data: DataSpec, part: Part = "whole", dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.data = effective_spec(network, data)
        self.part = part
        self.dtype = dtype
        self.plan: NoisePlan | None = None
        if isinstance(self.network, StyleGenerator):
            if part != "mapping" and (plan := NoisePlan(self.network)).layers:
                self.plan = plan
                self.noise_input = plan.install(self.network)
        elif part != "whole":
            raise OptionError(
                f"{type(network).__name__} has no styles, so part={part} is unsupported", "use part=whole"
            )
        self.is_truncatable = can_truncate(network)
        self.names = self._list_names()
        self.network.to(dtype)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map inputs in the order of `names` to examples ``[N, ...]``, or to styles ``[N, L, w_dim]``."""
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
        with self.noise_input.hold(given["noise"], given["fixed_noise"]):
            return network.synthesis(styles, "random").float()

    def check_deterministic(self, inputs: Sequence[Tensor]) -> None:
        """Raise GanforgeError if the network draws random numbers in ``forward``."""
        with torch.random.fork_rng(), torch.no_grad():
            before = torch.get_rng_state()
            self(*inputs)
            if not torch.equal(before, torch.get_rng_state()):
                raise GanforgeError(
                    f"{type(self.network).__name__} draws random numbers in forward, which only TorchScript supports",
                    "take noise from ganforge.NoiseInjection in a StyleGenerator, or export --torchscript",
                )

    def _map(self, network: StyleGenerator, given: dict[str, Tensor]) -> Tensor:
        """Return styles, interpolated between truncation 0 and 1, so that truncation stays a tensor."""
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
