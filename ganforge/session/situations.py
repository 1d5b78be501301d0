"""Fitting resolution and recipe to data and device, and saying what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ganforge.config.data import DataConfig
from ganforge.config.resolution import Resolution, write_resolution
from ganforge.config.schema import DEFAULT_RECIPE, RunConfig, merge_recipe, resolve
from ganforge.config.sources import merge
from ganforge.contract.parts import Situation
from ganforge.data.advice import FEW, SMALL, shrink
from ganforge.data.decode import strict_decoding
from ganforge.data.files import ImageFiles
from ganforge.data.items import Reader, Size
from ganforge.data.pack import find_source
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.training.recording.verdict import COPIED

_PART_FLAGS = {"regularizers": "--reg", "augmentations": "--augment", "callbacks": "--callback"}

FAST_ADA = 100_000
"""Images in which ADA reaches its maximum, where the discriminator starts trained: it overfits at once."""

SCARCE = 1_000
"""Images up to which a run stops when samples copy them or no longer improve."""

EARLY_STOP = {"early-stop": {"patience": 200_000, "memorization": COPIED}}

PROBED = 8
"""Images whose sizes are read before the data are opened."""


class Fitted(NamedTuple):
    """Configuration of a new run, its data, and a line for each choice, with flags that override it."""

    config: RunConfig
    data: PackedData
    chosen: list[str]


def fit(
    registry: Registry,
    layers: Sequence[Mapping[str, Any]],
    device: torch.device,
    open_data: Callable[[DataConfig], PackedData],
) -> Fitted:
    """Resolve the configuration of a new run for its device and its data, which are opened."""
    config, chosen = resolve(registry, *layers), []
    if (smaller := limit_resolution(config, registry, device)) is not None:
        chosen.append(f"for a CPU: --resolution {smaller}")
        layers = [*layers, {"data": {"resolution": smaller}}]
        config = resolve(registry, *layers)
    data = open_data(config.data)
    situations: tuple[Situation, ...] = ("few",) if len(data) < FEW and data.sources is None else ()
    before = merge_recipe(registry, *layers)[1]
    if situations and "augmentations" not in merge(*layers) and _overfits(registry, config, data):
        layers = [*layers, {"augmentations": {"ada": {"images": FAST_ADA}}}]
    scarce = bool(situations) and len(data) <= SCARCE and _is_for_few(registry, config, data)
    if scarce and "callbacks" not in before:
        layers = [*layers, {"callbacks": EARLY_STOP}]
    after = merge_recipe(registry, *layers, situations=situations)[1]
    if flags := " ".join(_flags(before, after)):
        chosen.append(f"for {len(data):,} examples: {flags}")
    if scarce:
        chosen.append(_expect(config, len(data)))
    return Fitted(resolve(registry, *layers, situations=situations), data, chosen)


def _is_for_few(registry: Registry, config: RunConfig, data: PackedData) -> bool:
    """Return whether a run has a recipe for few images, or starts from the weights of another."""
    few = "few" in registry.part("recipe", config.recipe).factory.variants
    return data.spec.is_image and config.training.d_steps > 0 and (few or config.training.init_from is not None)


def _expect(config: RunConfig, count: int) -> str:
    """Return what to expect of few images, and what helps."""
    training, more = config.training, "--freeze discriminator:2 keeps layers that overfit"
    if training.init_from is None:
        more = "--init-from a run on similar images gives better samples"
    elif training.freeze:
        more = "the first layers of a network are frozen"
    return f"expect variations of {count:,} images, not new kinds; memorization above {COPIED:g} means copies; {more}"


def _overfits(registry: Registry, config: RunConfig, data: PackedData) -> bool:
    """Return whether a run from the weights of another needs ADA: its recipe has no augmentation but flips."""
    adversarial = data.spec.is_image and config.training.init_from is not None and config.training.d_steps > 0
    few = registry.part("recipe", config.recipe).factory.variants.get("few", {})
    flips = {each.name for each in config.augmentations} <= {"flip"}
    return adversarial and flips and few.get("augmentations", {}).keys() <= {"ada"}


def limit_resolution(config: RunConfig, registry: Registry, device: torch.device) -> Resolution | None:
    """Return a smaller resolution for the default recipe on a CPU, if all images are large and none was chosen."""
    if config.recipe != DEFAULT_RECIPE or device.type != "cpu" or config.data.resolution is not None:
        return None
    sizes = _probe_sizes(config.data, registry)
    if len(sizes) != 1:
        return None
    (size,) = sizes
    return write_resolution(shrink(*size)) if min(size) > SMALL else None


def _probe_sizes(config: DataConfig, registry: Registry) -> set[Size]:
    """Return heights and widths of some images; empty for other data than files."""
    found = find_source(config.source, None, config.options, registry, config.skip_bad)
    if not isinstance(found.dataset, ImageFiles):
        return set()
    reader = Reader(found.dataset, found.title, config.skip_bad)
    chosen = sorted({index * (reader.length - 1) // PROBED for index in range(PROBED + 1)})
    with strict_decoding():
        return {(example.shape[0], example.shape[1]) for example in reader.read(chosen) if len(example.shape) == 3}


def _flags(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield flags for the options of `after` that differ from `before`."""
    for section, settings in after.items():
        known = before.get(section, {})
        for name, value in settings.items() if isinstance(settings, Mapping) else ():
            if known.get(name) == value:
                continue
            if section in _PART_FLAGS:
                options = ",".join(f"{key}={each}" for key, each in value.items())
                yield f"{_PART_FLAGS[section]} {name}{':' * bool(options)}{options}"
            else:
                yield f"--set {section}.{name}={value}"
