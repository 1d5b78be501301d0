"""Validation and accumulation of loss terms and logged scalars."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganforge.contract.errors import PluginError
from ganforge.contract.step import Step
from ganforge.training.state import Penalty


class Terms:
    """Loss terms of one player on one microbatch; `row` holds scalars to log by name."""

    def __init__(self, player: str, device: torch.device) -> None:
        self._player = player
        self._device = device
        self._terms: dict[str, Tensor] = {}
        self.row: dict[str, Tensor] = {}
        self.collected: dict[str, dict[str, Tensor]] = {}

    def add_loss(self, name: str, value: object, weight: float) -> None:
        """Add the loss of a scale; raise `PluginError` if it is invalid."""
        key, term = f"{self._player}/loss", self._require(f"loss '{name}'", value)
        term = term if weight == 1 else term * weight
        self._terms[key] = self._terms[key] + term if key in self._terms else term

    def add_penalty(self, penalty: Penalty, value: object, step: Step, images: int) -> None:
        """Add the value of a regularizer, a scalar or None, and its logged scalars.

        A lazy regularizer that runs every k-th step is scaled by k, so that its mean gradient is unchanged.
        """
        name = f"{self._player}/{penalty.name}"
        if value is not None:
            factor = penalty.weight.at(images) * penalty.every
            self._terms[name] = self._require(f"regularizer '{penalty.name}'", value) * factor
        for key, logged in step.logged.items():
            self.row[f"{name}/{key}"] = logged
        step.logged.clear()
        if step.collected:
            self.collected[penalty.name] = step.collected
            step.collected = {}

    def backward(self, parameters: Sequence[nn.Parameter], parts: int) -> None:
        """Accumulate the gradients of one of `parts` microbatches."""
        if not self._terms:
            raise PluginError(
                f"no regularizer returned a term of the {self._player}, and there is no discriminator",
                "one must return a scalar in every step",
            )
        total = torch.stack(list(self._terms.values())).sum() / parts
        total.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        self.row = {**self._terms, **self.row}

    def _require(self, part: str, value: object) -> Tensor:
        """Validate a term without synchronizing with the device."""
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


def mean_rows(terms: Sequence[Terms]) -> dict[str, Tensor]:
    """Return the means of scalars over microbatches; raise `PluginError` if their names differ."""
    rows = [each.row for each in terms]
    differing = {name for row in rows for name in row.keys() ^ rows[0].keys()}
    if differing:
        raise PluginError(
            f"'{min(differing)}' is missing in some microbatches",
            "a regularizer must return and log the same names in every microbatch of a step",
        )
    if len(rows) == 1:
        return {name: value.detach() for name, value in rows[0].items()}
    return {name: torch.stack([row[name].detach() for row in rows]).mean() for name in rows[0]}
