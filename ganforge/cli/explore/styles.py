"""``ganforge explore truncation`` and ``noise``: figures of the StyleGAN paper."""

from __future__ import annotations

from typing import Annotated

from ganforge.cli.common import open_registry
from ganforge.cli.explore.common import Shared, count_option, read_numbers
from ganforge.cli.explore.sources import Codes, describe_sources, name_source, open_sources, seeds_unless
from ganforge.cli.options import MAX_DRAWN, number, option


def truncation(
    shared: Shared,
    psi: Annotated[str, option("--psi", "Truncation psi, one per column.", "X,X,...")] = "1,0.7,0.5,0,-0.5",
    count: Annotated[int, count_option("Number of seeds, one per row.", MAX_DRAWN)] = 4,
    code: Codes = None,
) -> None:
    """Draw the same seeds or codes at several truncations."""
    psis = read_numbers(psi, float, "--psi")
    given = seeds_unless(code, shared.seed, count)
    here = shared.open()

    from ganforge.explore import truncation_sweep
    from ganforge.explore.capabilities import require_truncation

    require_truncation(here.generator, open_registry())
    where = here.space(None)
    images = truncation_sweep(where, open_sources(here, where, given), psis)
    columns = [f"psi {each:g}" for each in psis]
    here.save_table(
        images, columns, {"seeds": describe_sources(given), "psi": psis}, [name_source(each) for each in given]
    )


def noise(
    shared: Shared,
    count: Annotated[int, count_option("Number of seeds, one per row.", MAX_DRAWN)] = 3,
    draws: Annotated[int, number("--draws", "Noise samples for the deviation.", least=2, most=MAX_DRAWN)] = 32,
    code: Codes = None,
) -> None:
    """Draw images with all noise, none, and that of half the layers, and the deviation of each pixel."""
    given = seeds_unless(code, shared.seed, count)
    here = shared.open()

    from ganforge.explore import study_noise
    from ganforge.explore.noise import PANELS

    where = here.styles()
    study = study_noise(where, open_sources(here, where, given), draws=draws, noise_seed=shared.seed)
    table = [[*panels, moved] for panels, moved in zip(study.panels, study.maps(), strict=True)]
    found = {
        "seeds": describe_sources(given),
        "noise_seeds": [shared.seed, shared.seed + draws - 1],
        "mean_deviations": study.deviation.mean(dim=(1, 2)).tolist(),
        "white": float(study.deviation.max()),
        "power_by_frequency": dict(zip(PANELS, study.powers.tolist(), strict=True)),
    }
    here.save_table(table, [*PANELS, "deviation"], found, [name_source(each) for each in given])
