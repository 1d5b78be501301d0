"""``ganforge explore truncation`` and ``noise``: figures of the StyleGAN paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import open_registry
from ganforge.cli.explore.common import (
    ClassName,
    To,
    count_option,
    count_seeds,
    open_exploration,
    read_numbers,
)
from ganforge.cli.options import MAX_DRAWN, Device, Out, Run, Seed, option, read_number


def truncation(
    context: typer.Context,
    run: Run = None,
    psi: Annotated[str, option("--psi", "Truncation psi, one per column.", "X,X,...")] = "1,0.7,0.5,0,-0.5",
    count: Annotated[str, count_option("Number of seeds, one per row.")] = "4",
    class_name: ClassName = None,
    seed: Seed = "0",
    to: To = None,
    device: Device = "auto",
    out: Out = Path("runs"),
) -> None:
    """Draw the same seeds at several truncations."""
    psis = read_numbers(psi, float, "--psi")
    seeds = count_seeds(seed, count)
    here = open_exploration(context, run, to, class_name, device, out)

    from ganforge.explore import ZSpace, truncation_sweep
    from ganforge.explore.capabilities import require_truncation

    require_truncation(here.generator, open_registry())
    images = truncation_sweep(ZSpace(here.generator, here.label), seeds, psis)
    columns = [f"psi {each:g}" for each in psis]
    here.save_table(images, columns, {"seeds": seeds, "psi": psis}, [str(each) for each in seeds])


def noise(
    context: typer.Context,
    run: Run = None,
    count: Annotated[str, count_option("Number of seeds, one per row.")] = "3",
    draws: Annotated[str, option("--draws", "Noise samples for the deviation.", "N")] = "32",
    class_name: ClassName = None,
    seed: Seed = "0",
    to: To = None,
    device: Device = "auto",
    out: Out = Path("runs"),
) -> None:
    """Draw images with all noise, none, and that of half the layers, and the deviation of each pixel."""
    seeds = count_seeds(seed, count)
    number = read_number(draws, int, "--draws", least=2, most=MAX_DRAWN)
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
