"""Terms that a player minimizes, and scalars that regularizers log: both are checked when a part returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ganforge.contract.errors import PluginError
from ganforge.contract.step import Step
from ganforge.training.state import Penalty


class Terms:
    """The terms of one player on one part of a batch.

    Args:
        player: ``generator`` or ``discriminator``.
        device: Of the networks.

    Attributes:
        row: Scalars to log, by name.
    """

    def __init__(self, player: str, device: torch.device) -> None:
        self._player = player
        self._device = device
        self._terms: dict[str, Tensor] = {}
        self.row: dict[str, Tensor] = {}

    def add_loss(self, name: str, value: object) -> None:
        """Add what the loss returned.

        Raises:
            PluginError: See `add_penalty`.
        """
        self._terms[f"{self._player}/loss"] = self._require(f"loss '{name}'", value)

    def add_penalty(self, penalty: Penalty, value: object, step: Step, images: int) -> None:
        """Add what a regularizer returned and logged.

        One that runs every k-th step counts k times, so its mean gradient is that of every step.

        Args:
            penalty: The regularizer.
            value: A scalar, or None for no term.
            step: The step that it was given; what it logged there is taken.
            images: Real examples shown so far, on which its weight depends.

        Raises:
            PluginError: The value is no floating-point tensor of shape ``[]`` with a gradient on the device.
        """
        name = f"{self._player}/{penalty.name}"
        if value is not None:
            factor = penalty.weight.at(images) * penalty.every
            self._terms[name] = self._require(f"regularizer '{penalty.name}'", value) * factor
        for key, logged in step.logged.items():
            self.row[f"{name}/{key}"] = logged
        step.logged.clear()

    def descend(self, parameters: Sequence[nn.Parameter], parts: int) -> None:
        """Add the gradients of one of so many parts to those of the parameters."""
        total = torch.stack(list(self._terms.values())).sum() / parts
        total.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        self.row = {**self._terms, **self.row}

    def _require(self, part: str, value: object) -> Tensor:
        """The value, if a player can minimize it; of a tensor only what is known without waiting for the device."""
        fault, hint = "", f"{self._player}() must return a floating-point tensor of shape [] with a gradient"
        if not isinstance(value, Tensor):
            fault = f"a value of type {type(value).__name__}"
        elif value.dim():
            fault, hint = f"a tensor of shape {tuple(value.shape)}", "return a scalar, such as its mean"
        elif not value.is_floating_point():
            fault = f"a tensor of {value.dtype}"
        elif value.device != self._device:
            fault, hint = f"a tensor on {value.device}", f"the networks are on {self._device}"
        elif not value.requires_grad:
            fault, hint = "a scalar without a gradient", "log it with step.log, or compute it from the player's output"
        else:
            return value
        raise PluginError(f"{part} returned {fault} as a term of the {self._player}", hint)


def mean_rows(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The means of scalars by name, over the parts of a batch.

    Raises:
        PluginError: A name is missing in some of the rows.
    """
    apart = {name for row in rows for name in row.keys() ^ rows[0].keys()}
    if apart:
        raise PluginError(
            f"'{min(apart)}' is missing in some parts of a batch",
            "a regularizer must return and log the same in every part of a step",
        )
    return {name: torch.stack([row[name].detach() for row in rows]).mean() for name in rows[0]}
