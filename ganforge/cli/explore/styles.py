"""``ganforge explore truncation`` and ``noise``: tables of the StyleGAN paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import MOST_SHOWN, DeviceOption, OutOption, RunArgument, SeedOption, open_registry, read_number
from ganforge.cli.explore.common import (
    ClassOption,
    ToOption,
    count_option,
    open_exploration,
    read_numbers,
    read_seed,
)


def truncation(
    context: typer.Context,
    run: RunArgument = None,
    psi: Annotated[
        str, typer.Option("--psi", metavar="X,X,...", help="Truncations, one a column.")
    ] = "1,0.7,0.5,0,-0.5",
    count: Annotated[str, count_option("Seeds, one a row.")] = "4",
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """The same seeds truncated more and more: nearer to the mean, and beyond it."""
    psis = read_numbers(psi, float, "--psi")
    first = read_seed(seed)
    seeds = list(range(first, first + read_number(count, int, "--count", least=1, most=MOST_SHOWN)))
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import ZSpace, truncation_sweep
    from ganforge.explore.capabilities import require_truncation

    require_truncation(here.generator, open_registry())
    images = truncation_sweep(ZSpace(here.generator, here.label), seeds, psis)
    columns = [f"psi {each:g}" for each in psis]
    here.save_table(images, columns, {"seeds": seeds, "psi": psis}, [str(each) for each in seeds])


def noise(
    context: typer.Context,
    run: RunArgument = None,
    count: Annotated[str, count_option("Seeds, one a row.")] = "3",
    draws: Annotated[str, typer.Option("--draws", metavar="N", help="Draws of noise for the deviation.")] = "32",
    class_name: ClassOption = None,
    seed: SeedOption = "0",
    to: ToOption = None,
    device: DeviceOption = "auto",
    out: OutOption = Path("runs"),
) -> None:
    """The same images with all noise, none, and that of half the layers; and how far noise moves each pixel."""
    first = read_seed(seed)
    seeds = list(range(first, first + read_number(count, int, "--count", least=1, most=MOST_SHOWN)))
    number = read_number(draws, int, "--draws", least=2, most=MOST_SHOWN)
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import study_noise
    from ganforge.explore.noise import PANELS

    study = study_noise(here.styles(), seeds, draws=number, noise_seed=seeds[0])
    table = [[*panels, moved] for panels, moved in zip(study.panels, study.maps(), strict=True)]
    found = {
        "seeds": seeds,
        "noise_seeds": [seeds[0], seeds[0] + number - 1],
        "mean_deviations": study.deviation.mean(dim=(1, 2)).tolist(),
        "white": float(study.deviation.max()),
        "power_by_frequency": dict(zip(PANELS, study.powers.tolist(), strict=True)),
    }
    here.save_table(table, [*PANELS, "deviation"], found, [str(each) for each in seeds])
