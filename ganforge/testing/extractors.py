"""Checks of feature extractors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.extractor import Extractor
from ganforge.testing.requirements import require, require_options

_IMAGES = DataSpec((3, 32, 32))

_TOLERANCE = 1e-4  # maximum relative difference of features of one image in batches of different sizes


def check_extractor(factory: Callable[..., Extractor], data: DataSpec = _IMAGES, **options: Any) -> None:
    """Check an extractor: shapes, types, repeatability, independence of images, and descriptions.

    `data` is the format of random test images; call it for gray and for color images if both are supported.
    """
    require_options(factory, options)
    extractor, twin = (_make(factory, data, options, seed) for seed in (0, 1))
    for name in ("label", "preprocessing"):
        text = getattr(extractor, name, None)
        require(isinstance(text, str) and bool(text.strip()), f"{name} is {text!r}: set it, since results show it")
    require(
        isinstance(extractor.notes, tuple) and all(isinstance(note, str) for note in extractor.notes),
        f"notes is {extractor.notes!r}; it must be a tuple of sentences",
    )

    images = torch.randint(256, (5, *data.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    features, logits = _extract(extractor, images)
    torch.manual_seed(2)
    again, logits_again = _extract(extractor, images)
    same = torch.equal(features, again)
    if logits is not None:
        same = same and logits_again is not None and torch.equal(logits, logits_again)
    require(same, "the same images gave other features: avoid random numbers, state and dropout")
    require(
        not torch.equal(features, _extract(extractor, 255 - images)[0]),
        "other images gave the same features: forward ignores its input",
    )
    for size in (1, 3):
        parts = [_extract(extractor, part) for part in torch.split(images, size)]
        same = _is_close(features, [part[0] for part in parts])
        if logits is not None:
            same = same and _is_close(logits, [part[1] for part in parts if part[1] is not None])
        require(same, f"an image has other features in a batch of {size} than in one of 5: use no batch statistics")
    require(
        torch.equal(features, _extract(twin, images)[0]),
        "two instances gave different features: read weights from a file, or use a fixed seed",
    )


def _make(factory: Callable[..., Extractor], data: DataSpec, options: dict[str, Any], seed: int) -> Extractor:
    torch.manual_seed(seed)
    extractor = factory(data, **options)
    require(isinstance(extractor, Extractor), f"it is a {type(extractor).__name__}: derive from ganforge.Extractor")
    return extractor.eval().requires_grad_(False)


def _extract(extractor: Extractor, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return features and logits after validation."""
    shown = images.clone()
    with torch.no_grad():
        found: Any = extractor(shown)
    require(torch.equal(shown, images), "forward changed its input: work on a copy")
    require(not any(each.training for each in extractor.modules()), "forward switched a module to training mode")
    require(
        isinstance(found, tuple) and len(found) == 2,
        f"forward returned {type(found).__name__}; it must return features and logits, or features and None",
    )
    for name, each in zip(("features", "logits"), found, strict=True):
        if name == "logits" and each is None:
            continue
        require(isinstance(each, Tensor), f"{name} are {type(each).__name__}; they must be a tensor")
        shape = tuple(each.shape)
        require(
            len(shape) == 2 and shape[0] == len(images) and shape[1] >= 2,
            f"{name} of {len(images)} images are {shape}; they must be a row per image, with at least 2 columns",
        )
        require(each.dtype == torch.float32, f"{name} are {each.dtype}; they must be float32")
        require(bool(each.isfinite().all()), f"{name} are not finite")
    return found[0], found[1]


def _is_close(whole: Tensor, parts: list[Tensor]) -> bool:
    return (torch.cat(parts) - whole).abs().max().item() <= _TOLERANCE * whole.abs().max().item()
