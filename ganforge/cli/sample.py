"""``ganforge sample``: samples of a trained generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ganforge.cli.common import find_weights, open_generator
from ganforge.cli.options import Device, Network, NoMarking, Out, Run, Seed, number, option
from ganforge.core.console import print_result
from ganforge.core.device import choose_device


def sample(
    run: Run = None,
    count: Annotated[int, number("--count", "Number of samples.", least=1)] = 64,
    seed: Seed = 0,
    classes: Annotated[
        list[str] | None,
        option("--class", "Class by name or number. Repeatable. Default: all classes in turn.", "NAME"),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        option(
            "--condition",
            "Condition: numbers by name as smile=1,age=0.3, others at their mean; an .npy of vectors; or a class. "
            "Repeatable. Default: conditions of the data.",
            "NAME=VALUE,...",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        option("--source", "Image, folder or zip, for a generator that translates source images.", "PATH"),
    ] = None,
    truncation: Annotated[
        float,
        number("--truncation", "Truncation psi; below 1 for less variety, if the generator has it.", "PSI", kind=float),
    ] = 1,
    precision: Annotated[str, option("--precision", "Compute precision.", "float32|bfloat16")] = "float32",
    to: Annotated[
        Path | None,
        option(
            "--to", "A .png for a grid, a folder for single images, a .npy for others. Default: in the run.", "PATH"
        ),
    ] = None,
    no_marking: NoMarking = False,
    network: Network = "",
    device: Device = "auto",
    out: Out = Path("runs"),
) -> None:
    """Sample from a run: images as one grid or as PNG files named by seed, vectors, signals and images of
    more than 4 channels as .npy.

    With --source, translate each source image and keep its name. Under torchrun, each process writes a share of the
    single images.
    """
    weights = find_weights(run, out, network)
    generator, card = open_generator(weights, choose_device(device))

    from ganforge.runs.shipped import output_folder
    from ganforge.sampling import read_precision
    from ganforge.session.samples import SampleWriter

    home = output_folder(weights.parent, out)
    writer = SampleWriter(generator, card, seed, truncation, read_precision(precision), not no_marking)
    if source is not None or card["data"].get("source_shape"):
        target = to or home / "translated" / network
        writer.translate(source, target)
    else:
        target = to or home / ("-".join(filter(None, ("samples", network))) + writer.suffix)
        writer.write(count, classes or [], target, conditions or [])
    print_result(str(target))
