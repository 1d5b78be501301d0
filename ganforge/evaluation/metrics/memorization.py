"""Memorization: distances of samples to their nearest training images, and copies."""

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
from ganforge.evaluation.results.formatting import describe_rows
from ganforge.evaluation.results.result import Evaluation, Measured
from ganforge.evaluation.statistics import Nearest, compare_distances, duplicates_interval, nearest, share_interval
from ganforge.evaluation.statistics.features import ROWS
from ganforge.evaluation.subjects.image_sets import DataImages, choose_some, choose_split
from ganforge.evaluation.subjects.subject import Subject
from ganforge.runs.marking import xmp_packet

PICTURE = "nearest.png"
MAX_IMAGES = 10_000
"""Maximum number of searched samples and of calibration images."""

MIN_IMAGES = 20
"""Minimum number of calibration images, so that a `QUANTILE` is one."""

QUANTILE = 0.05
"""Share of the calibration images whose distance is the threshold of duplicates."""

SHOWN = 8
"""Samples in each half of the picture."""

NEIGHBORS = 7
"""Training images shown beside a sample."""


def check_memorization(comparison: Comparison) -> None:
    """Raise OptionError if the reference set is not the training set, or training or held-out images are too few."""
    reference = comparison.reference
    if reference.split != "train":
        raise OptionError(
            f"--split {reference.split}: --memorization searches the training images", "use --split train"
        )
    if len(reference.indices) < MIN_IMAGES:
        raise OptionError(
            f"--memorization: there are {len(reference.indices)} training images", f"it needs {MIN_IMAGES} or more"
        )
    held_out = _held_out(reference)
    if held_out is not None and held_out.count < MIN_IMAGES:
        raise OptionError(
            f"--memorization: {held_out.count} held-out images are too few for a threshold",
            f"it needs {MIN_IMAGES} or more: train with a larger training.holdout, or with 0",
        )


def report_memorization(comparison: Comparison, home: Path) -> tuple[list[Evaluation], str]:
    """Return rows and text of `measure_memorization`, with its picture in `home`."""
    rows = measure_memorization(comparison, home / PICTURE)
    return rows, f"{describe_rows(rows)}\n{describe_memorization(rows[0], home / PICTURE)}"


def measure_memorization(comparison: Comparison, picture: Path) -> list[Evaluation]:
    """Measure the share of samples as near to a training image as only `QUANTILE` of unseen images are.

    Unseen images are the held-out ones of the run. Without any, training images replace them, each compared with all
    others. The share depends on features alone: images with equal features count as near.

    Copies are also found by pixels, see `find_copies`. Data may hold duplicates, so a note reports copies only if
    samples have more of a kind than unseen images.

    The PNG `picture` shows on the left copies by kind, then the samples nearest to a training image, and on the right
    samples of median distance. The copied training image, if any, and the nearest ones follow each sample.
    """
    check_memorization(comparison)
    reference, training, progress = comparison.reference, comparison.reals.features, comparison.reporter.progress
    held_out = _held_out(reference)
    if held_out is None:
        with progress("nearest other training images") as show:
            others = choose_some(torch.arange(len(training)), MAX_IMAGES, seed=0)
            usual = _distances_from_others(training, others, show)
        with progress("copies among training images") as show:
            unseen = find_copies(comparison.real_images, others, comparison.real_images, own=others, show=show)
    else:
        features = comparison.extract(held_out).features
        with progress("nearest training images of held-out ones") as show:
            usual = _search(features, training, 1, show).distances[:, 0]
        with progress("copies among held-out images") as show:
            unseen = find_copies(held_out, torch.arange(held_out.count), comparison.real_images, show=show)
    numbers = comparison.choose_fakes(MAX_IMAGES)
    samples = comparison.fakes.features[numbers]
    with progress("nearest training images of samples") as show:
        found = _search(samples, training, NEIGHBORS, show)
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
    mark = _mark(comparison.subject) if comparison.marking else b""
    write_bytes(picture, png_bytes(_beside(halves, comparison.real_images.shape[2]), mark))
    counted = {kind: _count(kind, copies, unseen) for kind in KINDS}
    row = comparison.row(
        Measured(
            name="memorization",
            value=result.duplicates,
            interval=duplicates_interval(distances, usual, quantile=QUANTILE) if len(samples) >= MIN_IMAGES else None,
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
                        "sample": numbers[index].item(),
                        "training_image": reference.indices[originals[index]].item(),
                        "distance": nearest(samples[index : index + 1], training[originals[index]][None])
                        .distances[0, 0]
                        .item(),
                        "copy": KINDS[copies.kinds[index]] if copies.kinds[index] >= 0 else None,
                    }
                    for index in closest.tolist()
                ],
            },
        )
    )
    notes = _notes(reference, result.threshold, result.held_out)
    return [replace(row, notes=(*row.notes, *_describe_copying(counted), *notes))]


def describe_memorization(row: Evaluation, picture: Path) -> str:
    """Describe the details of a row of `measure_memorization` and its picture, one line each."""
    details = row.details
    kind = "held-out images" if row.protocol["calibration"] == "held-out" else "training images, each without itself"
    calibrating = f"{details['calibrating']:,} {kind}"
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
        f"right as many typical ones; each followed by {NEIGHBORS} training images, its original or the nearest first"
    )


def _held_out(reference: Reference) -> DataImages | None:
    """Return the held-out images; None if there are none."""
    if not reference.holdout:
        return None
    indices = choose_some(choose_split(reference.data, "held-out", reference.holdout), MAX_IMAGES, seed=0)
    return DataImages(reference.data, indices, name="held-out images")


def _search(queries: Tensor, training: Tensor, count: int, show: Callable[[int, int], None]) -> Nearest:
    """Return the nearest training images of each query, a block of queries at a time."""
    found = []
    for start in range(0, len(queries), ROWS):
        show(start, len(queries))
        found.append(nearest(queries[start : start + ROWS], training, count=count))
    return Nearest(
        indices=torch.cat([each.indices for each in found]), distances=torch.cat([each.distances for each in found])
    )


def _count(kind: str, copies: Copies, unseen: Copies) -> dict[str, Any]:
    """Count copies of a kind, and compare the shares of samples and unseen images by their intervals."""
    mine, theirs = copies.count(kind), unseen.count(kind)
    sampled, usual = (
        share_interval(found / len(each.kinds), len(each.kinds)) for found, each in ((mine, copies), (theirs, unseen))
    )
    return {"samples": mine, "unseen": theirs, "more": sampled.low > usual.high}


def _describe_copying(counted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    more = [f"{each['samples']:,} {kind}" for kind, each in counted.items() if each["more"]]
    return [f"copies of training images: {', '.join(more)}, more than among unseen images"] if more else []


def _distances_from_others(training: Tensor, chosen: Tensor, show: Callable[[int, int], None]) -> Tensor:
    """Return the distance ``[N]`` of each chosen training image to its nearest other one."""
    return _search(training[chosen], training, 2, show).besides(chosen)


def _first(originals: Tensor, nearby: Tensor) -> Tensor:
    """Return indices ``[N, K]`` of the nearest training images with the original ``[N]`` of each in front."""
    rows = [
        [original, *(index for index in near if index != original)][: len(near)]
        for original, near in zip(originals.tolist(), nearby.tolist(), strict=True)
    ]
    return torch.tensor(rows)


def _show(comparison: Comparison, numbers: Tensor, neighbors: Tensor) -> Tensor:
    """Return samples in a column, with training images to the right of each, uint8 ``[C, H, W]``."""
    samples = read_images(comparison.fake_images, numbers)
    indices = comparison.reference.indices[neighbors.flatten()]
    shown = DataImages(comparison.reference.data, indices).read(0, len(indices))
    return _beside([grid(samples, columns=1), grid(shown, columns=NEIGHBORS)], samples.shape[3] // 4)


def _mark(subject: Subject) -> bytes:
    """Return the XMP packet of samples beside training images; empty for a folder of images of unknown origin."""
    if subject.about["kind"] == "images":
        return b""
    name, digest = subject.origin.get("name", subject.about["kind"]), subject.about.get("made_of")
    card = {"generator": {"name": name}, "digest": digest or subject.about["digest"]}
    return xmp_packet(card, with_real=True)


def _beside(pictures: list[Tensor], gap: int) -> Tensor:
    """Return two pictures of one height, separated by gray pixels."""
    left, right = pictures
    return torch.cat([left, left.new_full((*left.shape[:2], gap), 128), right], dim=2)


def _notes(reference: Reference, threshold: float, usual: float) -> list[str]:
    notes = [f"unseen images have about {QUANTILE}: lower values are not better", *reference.describe_omitted()]
    if threshold <= 1e-4 * usual:
        notes.append(f"{QUANTILE:.0%} or more of unseen images equal a training image: copies cannot be detected")
    return notes
