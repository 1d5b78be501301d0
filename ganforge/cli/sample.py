"""``ganforge sample``: pictures of a trained generator."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import DeviceOption, OutOption, RunArgument, SeedOption, read_number
from ganforge.cli.runs import find_weights, open_generator
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result
from ganforge.core.device import choose_device
from ganforge.core.ranks import process_count, process_rank
from ganforge.runs.folder import is_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor


BATCH = 256
"""Images at once."""

TRANSLATED = 16
"""Images that are made of others at once; networks that do so keep maps of all sizes until the end."""


def sample(
    run: RunArgument = None,
    count: Annotated[str, typer.Option("--count", metavar="N", help="How many.")] = "64",
    seed: SeedOption = "0",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME", help="Only this class, by name or number. Repeatable.", show_default=False
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="PATH",
            help="A picture, or a folder or zip of them: for a generator that makes its images of others.",
            show_default=False,
        ),
    ] = None,
    truncation: Annotated[
        str, typer.Option("--truncation", metavar="PSI", help="Less than 1: less variety, where the generator has it.")
    ] = "1",
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="float32|bfloat16", help="Numbers that the generator runs in."),
    ] = "float32",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="PATH",
            help="A .png for one grid, a folder for single PNGs, a .npy for vectors. By default in the run.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """Draw samples from a run: images as one grid or as single PNG files named by their seeds, vectors as .npy.

    With --source, each picture is made of one of yours, and keeps its name.

    Started by torchrun, each process writes a share of the single files.
    """
    number = read_number(count, int, "--count", least=1)
    first = read_number(seed, int, "--seed", least=0)
    psi = read_number(truncation, float, "--truncation")
    weights = find_weights(run, out)
    generator, card = open_generator(weights, choose_device(device))

    from ganforge.sampling import generate_batches, read_precision

    numbers = read_precision(precision)
    if source is not None or card["data"].get("source_shape"):
        made = partial(generate_batches, generator, seed=first, truncation=psi, precision=numbers)
        print_result(str(translate(source, card, to or weights.with_name("translated"), made)))
        return
    is_image = len(card["data"]["shape"]) == 3
    suffix = ".png" if is_image else ".npy"
    target = to or weights.with_name(f"samples{suffix}")
    if (target.suffix or not is_image) and target.suffix.lower() != suffix:
        kind = "images are written as .png, or into a folder" if is_image else "vectors are written as .npy"
        raise OptionError(f"--to {target}: {kind}", f"such as {target.with_suffix(suffix)}")
    if target.suffix:
        _require_room(number, card["data"]["shape"], is_image)
    labels = choose_labels(classes or [], card["data"]["class_names"], number)
    if process_count() > 1:
        if target.suffix:
            raise OptionError("several processes write single images", "name a folder: --to samples")
        share = slice(*(number * rank // process_count() for rank in (process_rank(), process_rank() + 1)))
        labels = None if labels is None else labels[share]
        first, number = first + share.start, share.stop - share.start
    batches = generate_batches(
        generator, number, seed=first, labels=labels, truncation=psi, batch=BATCH, precision=numbers
    )
    if not is_image:
        write_array(target, batches)
    elif target.suffix:
        write_grid(target, batches)
    else:
        write_singles(target, batches, first)
    print_result(str(target))


def translate(
    source: Path | None, card: Mapping[str, Any], target: Path, make: Callable[..., Iterator[Tensor]]
) -> Path:
    """Write what is made of a user's pictures; see `write_translations`.

    Args:
        source: The pictures.
        card: Of the generator.
        target: A ``.png`` for one grid, or a folder for single ones.
        make: Gives batches, of a count and of labels.

    Returns:
        The target.

    Raises:
        OptionError: There are no pictures, or the generator takes none; or two would be written to one file.
        DataError: A picture cannot be read.
    """
    from ganforge.data.conditions import SourceFiles
    from ganforge.runs.checkpoint import read_spec

    shape = read_spec(card).source_shape
    if source is None:
        raise OptionError("this generator makes its images of others", "give them: --source PICTURE, or FOLDER")
    if not shape:
        raise OptionError(f"--source {source}: this generator makes its images of latents alone", "leave it out")
    if process_count() > 1:
        raise OptionError("--source: several processes would make the same pictures", "start one without torchrun")
    if target.suffix.lower() not in ("", ".png"):
        raise OptionError(f"--to {target}: images are written as .png, or into a folder", "name one of both")
    pictures = SourceFiles(source, shape)
    batches = make(len(pictures), labels=pictures, batch=TRANSLATED)
    if target.suffix:
        write_grid(target, batches)
    else:
        write_translations(target, batches, pictures.names)
    return target


def _require_room(count: int, shape: list[int], is_image: bool) -> None:
    """Refuse what is written as one file and does not fit into memory, before hours of drawing."""
    from math import prod

    from ganforge.core.memory import describe_bytes, machine_memory

    size = count * prod(shape) * (1 if is_image else 4)
    if size > machine_memory():
        raise OptionError(
            f"--count {count}: one file of so many would take {describe_bytes(size)}, and there are "
            f"{describe_bytes(machine_memory())} of memory",
            "draw fewer at once, and go on with --seed" + (", or give a folder: --to FOLDER" if is_image else ""),
        )


def write_array(target: Path, batches: Iterable[Tensor]) -> None:
    """Write vectors as one ``.npy``, float32 ``[N, D]``."""
    import io

    import numpy as np
    import torch

    from ganforge.core.atomic_files import write_bytes

    content = io.BytesIO()
    np.save(content, torch.cat([batch.cpu() for batch in batches]).numpy())
    write_bytes(target, content.getvalue())


def write_grid(target: Path, batches: Iterable[Tensor]) -> None:
    """Write images ``[n, C, H, W]`` in [-1, 1] as one PNG."""
    import torch

    from ganforge.core.atomic_files import write_bytes
    from ganforge.core.images import grid, png_bytes, to_uint8

    write_bytes(target, png_bytes(grid(torch.cat([to_uint8(batch).cpu() for batch in batches]))))


def write_singles(folder: Path, batches: Iterable[Tensor], seed: int) -> None:
    """Write images ``[n, C, H, W]`` in [-1, 1] as ``seed000007.png`` and so on, while further ones are made."""
    from ganforge.core.images import to_uint8
    from ganforge.training.recording.background_writer import Writer

    with Writer() as writer:
        for batch in batches:
            writer.submit(write_pictures, folder, to_uint8(batch).cpu(), seed)
            seed += len(batch)


def write_pictures(folder: Path, pictures: Tensor, seed: int) -> None:
    """Write images, uint8 ``[n, C, H, W]``, by the seed of the first; the disk is not waited for."""
    from ganforge.core.atomic_files import write_bytes
    from ganforge.core.images import png_bytes

    for number, picture in enumerate(pictures, seed):
        write_bytes(folder / f"seed{number:06d}.png", png_bytes(picture), sync=False)


def write_translations(folder: Path, batches: Iterable[Tensor], names: list[str]) -> None:
    """Write images ``[n, C, H, W]`` in [-1, 1] as PNGs under relative names, whatever these end in.

    Raises:
        OptionError: Two of them would have one name.
    """
    from ganforge.core.atomic_files import write_bytes
    from ganforge.core.images import png_bytes, to_uint8

    paths = [PurePosixPath(name).with_suffix(".png") for name in names]
    for path, times in Counter(paths).items():
        if times > 1:
            both = " and ".join(name for name, each in zip(names, paths, strict=True) if each == path)
            raise OptionError(f"--source: {both} would both become {path}", "rename one of them")
    left = iter(paths)
    for batch in batches:
        for picture in to_uint8(batch).cpu():
            write_bytes(folder / next(left), png_bytes(picture), sync=False)


def choose_labels(wanted: list[str], names: list[str], count: int) -> Tensor | None:
    """Labels ``[count]`` int64 that go round the wanted classes, or round all; None where there are none.

    Raises:
        OptionError: A class that the data do not have.
    """
    import torch

    if wanted and not names:
        raise OptionError(f"--class {wanted[0]}: the run's data have no classes", "leave --class out")
    indices = []
    for each in wanted:
        if each in names:
            indices.append(names.index(each))
        elif is_index(each) and int(each) < len(names):
            indices.append(int(each))
        else:
            raise OptionError(f"--class {each}: there is no such class", nearest(each, names))
    choices = torch.tensor(indices or list(range(len(names))), dtype=torch.int64)
    return choices[torch.arange(count) % len(choices)] if len(choices) else None
