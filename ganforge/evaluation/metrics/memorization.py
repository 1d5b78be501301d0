"""Whether a subject copies what it was trained on: its samples beside the training images that are nearest to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.core.atomic_files import write_bytes
from ganforge.core.images import grid, png_bytes
from ganforge.evaluation.metrics.comparison import Comparison, Reference
from ganforge.evaluation.metrics.copies import KINDS, Copies, find_copies, read_images
from ganforge.evaluation.results.narration import Progress, no_progress
from ganforge.evaluation.results.result import Evaluation, Measured
from ganforge.evaluation.statistics import Nearest, nearest, share_interval
from ganforge.evaluation.statistics.features import ROWS
from ganforge.evaluation.statistics.memorization import compare_distances, duplicates_interval
from ganforge.evaluation.subjects.image_sets import DataImages, choose_some, choose_split

PICTURE = "nearest.png"
"""Where samples and their nearest training images are shown, in the subject's home."""

MOST_IMAGES = 10_000
"""Samples that are searched for, and images that calibrate: searching takes long."""

LEAST_IMAGES = 20
"""Images that calibrate, of which a `QUANTILE` is one."""

QUANTILE = 0.05
"""Of the calibrating images, those that are nearest to training images: samples as near count as duplicates."""

SHOWN = 8
"""Samples of each half of the picture."""

NEIGHBOURS = 7
"""Training images that are shown beside a sample."""


def check_memorization(comparison: Comparison) -> None:
    """Refuse what says nothing of copying, before any image is looked at.

    Raises:
        OptionError: The real images are not those of the training, or they, or those held out, are too few.
    """
    reference = comparison.reference
    if reference.split != "train":
        raise OptionError(
            f"--split {reference.split}: --memorization searches what was trained on", "leave it out, for --split train"
        )
    if len(reference.indices) < LEAST_IMAGES:
        raise OptionError(
            f"--memorization: there are {len(reference.indices)} training images", f"it needs {LEAST_IMAGES} or more"
        )
    held_out = _held_out(reference)
    if held_out is not None and held_out.count < LEAST_IMAGES:
        raise OptionError(
            f"--memorization: {held_out.count} images were held out, too few to say what distance is usual",
            f"it needs {LEAST_IMAGES} or more, so train with a larger training.holdout, or with 0",
        )


def measure_memorization(
    comparison: Comparison, picture: Path, *, progress: Progress = no_progress
) -> list[Evaluation]:
    """The share of samples that lie as near to a training image as only `QUANTILE` of unseen images do.

    Unseen images are those that the run held out. Where it held out none, training images take their place, each beside
    all others: real images have as many near ones among the others as unseen ones have. The share rests on the features
    alone, so two images that the extractor takes for the same count as near.

    Copies are found by the pixels besides, see `find_copies`, and counted among samples and unseen images. Data may
    hold images several times, so a note tells of copies only where samples have more of a kind than unseen images.

    Args:
        comparison: The subject beside the images that it was trained on; see `check_memorization`.
        picture: A PNG file to write: on the left copies by their kind, then the samples nearest to a training image, on
            the right samples of median distance; each is followed by the training image that it copies, if any, and by
            its nearest training images, nearest first.
        progress: Shows how far the searches are.

    Returns:
        One row; its details count the copies by kind, and name the samples on the left by their number, and the
        training image that each copies or is nearest to by its index in the data.

    Raises:
        OptionError: See `check_memorization`.
        CheckpointError: Features are not finite.
        PluginError: The extractor breaks its contract.
        GanforgeError: The picture or the cache cannot be written.
    """
    check_memorization(comparison)
    reference, training = comparison.reference, comparison.reals.features
    held_out = _held_out(reference)
    if held_out is None:
        with progress("other images near training images") as show:
            others = choose_some(torch.arange(len(training)), MOST_IMAGES, seed=0)
            usual = _distances_from_others(training, others, show)
        with progress("copies among training images") as show:
            unseen = find_copies(comparison.real_images, others, comparison.real_images, own=others, show=show)
    else:
        features = comparison.extract(held_out).features
        with progress("training images near held-out ones") as show:
            usual = _search(features, training, 1, show).distances[:, 0]
        with progress("copies among held-out images") as show:
            unseen = find_copies(held_out, torch.arange(held_out.count), comparison.real_images, show=show)
    numbers = _searched(comparison)
    samples = comparison.fakes.features[numbers]
    with progress("training images near samples") as show:
        found = _search(samples, training, NEIGHBOURS, show)
    with progress("copies among samples") as show:
        copies = find_copies(comparison.fake_images, numbers, comparison.real_images, show=show)
    distances = found.distances[:, 0]
    result = compare_distances(distances, usual, quantile=QUANTILE)
    order = distances.argsort(stable=True)
    typical = order[max(0, (len(order) - SHOWN) // 2) :][:SHOWN]
    kinds = torch.where(copies.kinds < 0, len(KINDS), copies.kinds)
    closest = order[kinds[order].argsort(stable=True)][:SHOWN]
    originals = torch.where(copies.sources < 0, found.indices[:, 0], copies.sources)
    halves = [
        _show(comparison, numbers[chosen], _first(originals[chosen], found.indices[chosen]))
        for chosen in (closest, typical)
    ]
    write_bytes(picture, png_bytes(_beside(halves, comparison.real_images.shape[2])))
    counted = {kind: _count(kind, copies, unseen) for kind in KINDS}
    row = comparison.row(
        Measured(
            name="memorization",
            value=result.duplicates,
            interval=duplicates_interval(distances, usual, quantile=QUANTILE) if len(samples) >= LEAST_IMAGES else None,
            better="lower",
            parameters={
                "quantile": QUANTILE,
                "calibration": "training, each without itself" if held_out is None else "held-out",
                "searched": len(samples),
            },
            details={
                "distance_of_generated": result.generated,
                "distance_of_calibrating": result.held_out,
                "calibrating": len(usual),
                "threshold": result.threshold,
                "copying": result.copying,
                "copies": counted,
                "closest": [
                    {
                        "sample": numbers[place].item(),
                        "training_image": reference.indices[originals[place]].item(),
                        "distance": nearest(samples[place : place + 1], training[originals[place]][None])
                        .distances[0, 0]
                        .item(),
                        "copy": KINDS[copies.kinds[place]] if copies.kinds[place] >= 0 else None,
                    }
                    for place in closest.tolist()
                ],
            },
        )
    )
    notes = _notes(reference, result.threshold, result.held_out)
    return [replace(row, notes=(*row.notes, *_describe_copying(counted), *notes))]


def describe_memorization(row: Evaluation, picture: Path) -> str:
    """What a row of `measure_memorization` says beside its value, and what the picture shows, a line each."""
    details = row.details
    calibrating = f"{details['calibrating']:,} "
    is_held_out = row.protocol["calibration"] == "held-out"
    calibrating += "held-out images" if is_held_out else "training images, each without itself"
    judgement = "as near as these"
    if abs(details["copying"]) > 3:
        judgement = "nearer than these" if details["copying"] < 0 else "further away than these"
    searched = row.protocol["searched"]
    copies = "".join(
        f"  {kind + ' copies':18} {each['samples']:,} of {searched:,} samples, {each['unseen']:,} of {calibrating}"
        f"{': more than usual' if each['more'] else ''}\n"
        for kind, each in details["copies"].items()
    )
    return (
        f"{copies}  mean distance from the nearest training image: {details['distance_of_generated']:.4g} of samples, "
        f"{details['distance_of_calibrating']:.4g} of {calibrating}: samples are {judgement} "
        f"(z = {details['copying']:.1f})\n"
        f"  {picture}: left the {len(details['closest'])} samples nearest to training images, copies before others; "
        f"right as many typical ones; each followed by {NEIGHBOURS} training images, its original or the nearest first"
    )


def _held_out(reference: Reference) -> DataImages | None:
    """Images that were not trained on; None where nothing was held out."""
    if not reference.holdout:
        return None
    indices = choose_some(choose_split(reference.data, "held-out", reference.holdout), MOST_IMAGES, seed=0)
    return DataImages(reference.data, indices, name="held-out images")


def _search(queries: Tensor, training: Tensor, count: int, show: Callable[[int, int], None]) -> Nearest:
    """The nearest training images of each query, some queries at a time, so that it can be seen how far it is."""
    found = []
    for start in range(0, len(queries), ROWS):
        show(start, len(queries))
        found.append(nearest(queries[start : start + ROWS], training, count=count))
    return Nearest(
        indices=torch.cat([each.indices for each in found]), distances=torch.cat([each.distances for each in found])
    )


def _searched(comparison: Comparison) -> Tensor:
    """Numbers of the samples that are searched for; of images that may be sorted, some spread over all."""
    most = comparison.fake_images.count
    if comparison.subject.most is None:
        return torch.arange(min(most, MOST_IMAGES))
    return choose_some(torch.arange(most), MOST_IMAGES, seed=0)


def _count(kind: str, copies: Copies, unseen: Copies) -> dict[str, Any]:
    """Copies of a kind among samples and unseen images, and whether the former have more beyond chance."""
    mine, theirs = copies.count(kind), unseen.count(kind)
    sampled, usual = (
        share_interval(found / len(each.kinds), len(each.kinds)) for found, each in ((mine, copies), (theirs, unseen))
    )
    return {"samples": mine, "unseen": theirs, "more": sampled.low > usual.high}


def _describe_copying(counted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence if there are more copies than usual."""
    more = [f"{each['samples']:,} {kind}" for kind, each in counted.items() if each["more"]]
    return [f"copies of training images: {', '.join(more)}, more than unseen images have"] if more else []


def _distances_from_others(training: Tensor, chosen: Tensor, show: Callable[[int, int], None]) -> Tensor:
    """Of some training images, the distance ``[N]`` of each from its nearest other one."""
    found = _search(training[chosen], training, 2, show)
    # An image of which there are several may find another one before itself: that one is as near.
    return torch.where(found.indices[:, 0] == chosen, found.distances[:, 1], found.distances[:, 0])


def _first(originals: Tensor, nearby: Tensor) -> Tensor:
    """Indices ``[N, K]`` of the nearest training images with the original of each, ``[N]``, in front."""
    rows = [
        [original, *(index for index in near if index != original)][: len(near)]
        for original, near in zip(originals.tolist(), nearby.tolist(), strict=True)
    ]
    return torch.tensor(rows)


def _show(comparison: Comparison, numbers: Tensor, neighbours: Tensor) -> Tensor:
    """Samples, one below the other, and to the right of each some training images, uint8 ``[C, H, W]``."""
    samples = read_images(comparison.fake_images, numbers)
    indices = comparison.reference.indices[neighbours.flatten()]
    shown = DataImages(comparison.reference.data, indices).read(0, len(indices))
    return _beside([grid(samples, columns=1), grid(shown, columns=NEIGHBOURS)], samples.shape[3] // 4)


def _beside(pictures: list[Tensor], gap: int) -> Tensor:
    """Two pictures of one height, with so many grey pixels between them."""
    left, right = pictures
    return torch.cat([left, left.new_full((*left.shape[:2], gap), 128), right], dim=2)


def _notes(reference: Reference, threshold: float, usual: float) -> list[str]:
    notes = [f"about {QUANTILE} is what unseen images have: less is no merit"]
    trained = len(choose_split(reference.data, "train", reference.holdout))
    if len(reference.indices) < trained:
        notes.append(f"searched {len(reference.indices):,} of {trained:,} training images: copies of others are missed")
    if threshold <= 1e-4 * usual:
        notes.append(f"{QUANTILE:.0%} or more of unseen images equal a training image: copies are not told from them")
    return notes
