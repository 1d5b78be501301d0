"""``ganforge explore truncation`` and ``noise``: figures of the StyleGAN paper."""

from __future__ import annotations

from typing import Annotated

from ganforge.cli.common import open_registry
from ganforge.cli.explore.common import Shared, count_option, read_numbers
from ganforge.cli.options import MAX_DRAWN, number, option


def truncation(
    shared: Shared,
    psi: Annotated[str, option("--psi", "Truncation psi, one per column.", "X,X,...")] = "1,0.7,0.5,0,-0.5",
    count: Annotated[int, count_option("Number of seeds, one per row.", MAX_DRAWN)] = 4,
) -> None:
    """Draw the same seeds at several truncations."""
    psis = read_numbers(psi, float, "--psi")
    seeds = list(range(shared.seed, shared.seed + count))
    here = shared.open()

    from ganforge.explore import ZSpace, truncation_sweep
    from ganforge.explore.capabilities import require_truncation

    require_truncation(here.generator, open_registry())
    images = truncation_sweep(ZSpace(here.generator, here.label), seeds, psis)
    columns = [f"psi {each:g}" for each in psis]
    here.save_table(images, columns, {"seeds": seeds, "psi": psis}, [str(each) for each in seeds])


def noise(
    shared: Shared,
    count: Annotated[int, count_option("Number of seeds, one per row.", MAX_DRAWN)] = 3,
    draws: Annotated[int, number("--draws", "Noise samples for the deviation.", least=2, most=MAX_DRAWN)] = 32,
) -> None:
    """Draw images with all noise, none, and that of half the layers, and the deviation of each pixel."""
    seeds = list(range(shared.seed, shared.seed + count))
    here = shared.open()

    from ganforge.explore import study_noise
    from ganforge.explore.noise import PANELS

    study = study_noise(here.styles(), seeds, draws=draws, noise_seed=seeds[0])
    table = [[*panels, moved] for panels, moved in zip(study.panels, study.maps(), strict=True)]
    found = {
        "seeds": seeds,
        "noise_seeds": [seeds[0], seeds[0] + draws - 1],
        "mean_deviations": study.deviation.mean(dim=(1, 2)).tolist(),
        "white": float(study.deviation.max()),
        "power_by_frequency": dict(zip(PANELS, study.powers.tolist(), strict=True)),
    }
    here.save_table(table, [*PANELS, "deviation"], found, [str(each) for each in seeds])
