"""Write samples of a generator: image grids, single PNG files, arrays of vectors, translated images."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.core.images import encode_png, grid, png_bytes, to_pil, to_uint8
from ganforge.core.memory import describe_bytes, machine_memory
from ganforge.core.ranks import process_count, process_rank
from ganforge.data.conditions import SourceFiles
from ganforge.runs.checkpoint import read_spec
from ganforge.runs.marking import name_seeds, xmp_packet
from ganforge.sampling import Precision, default_labels, generate, generate_batches, refuse_sources
from ganforge.session.conditions import labels_from_options
from ganforge.training.recording.background_writer import Writer

BATCH = 256
"""Batch size from latents."""

PICTURE_CHANNELS = (1, 2, 3, 4)
"""Channels of images that are written as pictures; images of more channels are written as arrays."""

TRANSLATION_BATCH = 16
"""Batch size from source images: such networks keep feature maps of all sizes."""


@dataclass(frozen=True)
class SampleWriter:
    """Draws from a generator and writes files.

    Args:
        generator: On its device.
        card: Of the generator's file.
        seed: Seed of the first sample; incremented per sample.
        truncation: 1 for none.
        precision: Compute precision.
        is_marked: Whether pictures have metadata that mark them as generated.
    """

    generator: Generator
    card: Mapping[str, Any]
    seed: int
    truncation: float
    precision: Precision
    is_marked: bool = True

    @property
    def suffix(self) -> str:
        """File type of samples: ``.png`` for images of at most 4 channels, else ``.npy``."""
        shape = self.card["data"]["shape"]
        return ".png" if len(shape) == 3 and shape[0] in PICTURE_CHANNELS else ".npy"

    def write(self, count: int, classes: Sequence[str], target: Path, conditions: Sequence[str] = ()) -> None:
        """Write samples from latents.

        Args:
            count: Number of samples, at least 1.
            classes: Names or numbers of classes, used in turn; empty for all.
            target: A ``.png`` for a grid, a folder for single images, or a ``.npy`` for vectors.
            conditions: Conditions, used in turn, in place of classes; see `choose_conditions`.

        Raises:
            OptionError: The target, a class or a condition is invalid, or one file of this size exceeds the memory.
        """
        shape = self.card["data"]["shape"]
        suffix = self.suffix
        is_image = suffix == ".png"
        if (target.suffix or not is_image) and target.suffix.lower() != suffix:
            kind = "images are written as .png, or into a folder" if is_image else f"{shape} is written as .npy"
            raise OptionError(f"--to {target}: {kind}", f"such as {target.with_suffix(suffix)}")
        if target.suffix:
            _check_memory(count, shape, is_image)
        labels = labels_from_options(classes, conditions, read_spec(self.card), count)
        seed = self.seed
        if process_count() > 1:
            if target.suffix:
                raise OptionError("several processes write single images", "name a folder: --to samples")
            share = slice(*(count * rank // process_count() for rank in (process_rank(), process_rank() + 1)))
            labels = None if labels is None else labels[share]
            seed, count = seed + share.start, share.stop - share.start
        batches = self._generate(count, seed, labels, BATCH)
        if not is_image:
            content = io.BytesIO()
            np.save(content, torch.cat([batch.cpu() for batch in batches]).numpy())
            write_bytes(target, content.getvalue())
        elif target.suffix:
            self._write_grid(target, batches, count)
        else:
            self._write_singles(target, batches, seed)

    def translate(self, source: Path | None, target: Path) -> None:
        """Write the translations of source images.

        Args:
            source: An image, or a folder or zip of images.
            target: A ``.png`` for a grid, or a folder for single images under the names of their sources.

        Raises:
            OptionError: The generator takes no source images, none are given, or two outputs share a name.
            DataError: An image cannot be read.
        """
        shape = read_spec(self.card).source_shape
        if source is None:
            raise OptionError("this generator translates source images", "add --source IMAGE, or --source FOLDER")
        if not shape:
            raise OptionError(f"--source {source}: this generator takes no source images", "omit --source")
        if process_count() > 1:
            raise OptionError("--source: several processes would write the same images", "start without torchrun")
        if target.suffix.lower() not in ("", ".png"):
            raise OptionError(f"--to {target}: images are written as .png, or into a folder", "name a .png or a folder")
        sources = SourceFiles(source, shape)
        batches = self._generate(len(sources), self.seed, sources, TRANSLATION_BATCH)
        if target.suffix:
            self._write_grid(target, batches, len(sources))
        else:
            self._write_translations(target, batches, sources.names)

    def _generate(self, count: int, seed: int, labels: Any, batch: int) -> Iterable[Tensor]:
        return generate_batches(
            self.generator,
            count,
            seed=seed,
            labels=labels,
            truncation=self.truncation,
            batch=batch,
            precision=self.precision,
        )

    def _mark(self, *seeds: int) -> bytes:
        return xmp_packet(self.card, name_seeds(seeds)) if self.is_marked else b""

    def _write_grid(self, target: Path, batches: Iterable[Tensor], count: int) -> None:
        picture = grid(torch.cat([to_uint8(batch).cpu() for batch in batches]))
        write_bytes(target, png_bytes(picture, self._mark(*range(self.seed, self.seed + count))))

    def _write_singles(self, folder: Path, batches: Iterable[Tensor], seed: int) -> None:
        """Write images ``[n, C, H, W]`` in [-1, 1] as ``seed000007.png`` in the background."""
        with Writer() as writer:
            for batch in batches:
                writer.submit(self._write_batch, folder, to_uint8(batch).cpu(), seed)
                seed += len(batch)

    def _write_batch(self, folder: Path, images: Tensor, seed: int) -> None:
        for number, image in enumerate(images, seed):
            write_bytes(folder / f"seed{number:06d}.png", png_bytes(image, self._mark(number)), sync=False)

    def _write_translations(self, folder: Path, batches: Iterable[Tensor], names: Sequence[str]) -> None:
        """Write images ``[n, C, H, W]`` in [-1, 1] as PNG files under relative names."""
        paths = [PurePosixPath(name).with_suffix(".png") for name in names]
        for path, times in Counter(paths).items():
            if times > 1:
                both = " and ".join(name for name, each in zip(names, paths, strict=True) if each == path)
                raise OptionError(f"--source: {both} would both become {path}", "rename one of them")
        remaining = enumerate(paths, self.seed)
        for batch in batches:
            for image in to_uint8(batch).cpu():
                seed, path = next(remaining)
                write_bytes(folder / path, png_bytes(image, self._mark(seed)), sync=False)


def draw_samples(
    generator: Generator, card: Mapping[str, Any], count: int, seed: int, truncation: float
) -> Image.Image:
    """Return images in a grid, classes in turn; ``info["xmp"]`` is the packet that marks it as generated."""
    data = read_spec(card)
    refuse_sources(data, "Run.sample")
    images = generate(generator, count, seed=seed, labels=default_labels(count, data), truncation=truncation)
    picture = to_pil(grid(to_uint8(images)))
    picture.info["xmp"] = xmp_packet(card, name_seeds(range(seed, seed + count)))
    return picture


def write_png(path: Path, picture: Image.Image) -> None:
    """Write a picture of `draw_samples` with its marking, which Pillow omits from PNG files."""
    if path.suffix.lower() != ".png":
        raise OptionError(f"{path}: the grid is written as .png", f"such as {path.with_suffix('.png')}")
    write_bytes(path, encode_png(picture, picture.info["xmp"]))


def _check_memory(count: int, shape: Sequence[int], is_image: bool) -> None:
    size = count * math.prod(shape) * (1 if is_image else 4)
    if size > machine_memory():
        raise OptionError(
            f"--count {count}: one file would take {describe_bytes(size)} of {describe_bytes(machine_memory())} memory",
            "lower --count, and continue with --seed" + (", or name a folder: --to FOLDER" if is_image else ""),
        )
