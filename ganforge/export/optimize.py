"""Prepare a generator for export: remove parametrizations, and optimize it for a CPU."""

from __future__ import annotations

import copy

from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Generator
from ganforge.export.folding import fold_and_replace
from ganforge.export.scripting import explain, remove_parametrizations
from ganforge.export.verification import list_calls, run_call

TOLERANCE = 5e-6
"""Maximum absolute difference of the optimized network."""


def optimize_generator(network: Generator, data: DataSpec) -> Generator:
    """Return an equivalent copy without parametrizations, on a CPU after `fold_and_replace`.

    Args:
        network: In evaluation mode.
        data: Output of the network.

    Raises:
        GanforgeError: A parametrization cannot be removed.
    """
    ready = copy.deepcopy(network)
    try:
        remove_parametrizations(ready)
    except Exception as error:  # a parametrization may raise anything
        raise explain(network, error) from error
    if next(ready.parameters()).device.type != "cpu":
        return ready
    few = [call for call in list_calls(ready, data) if call.batch == 7 and "z" in call.arguments]

    def run(each: Generator) -> list[Tensor]:
        return [run_call(each, call, data) for call in few]

    return fold_and_replace(ready, run, TOLERANCE)
