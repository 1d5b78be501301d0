"""``ganforge explore project``: find the latents of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganforge.cli.common import open_registry
from ganforge.cli.explore.common import Shared
from ganforge.cli.explore.exploration import Exploration
from ganforge.cli.options import number, option, part_option, switch
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from ganforge.explore.features import Distance

_LOSS = "Loss"


def project(
    shared: Shared,
    image: Annotated[
        list[Path] | None, option("--image", "Image to project, or folder of images. Repeatable.", "PATH")
    ] = None,
    index: Annotated[int | None, number("--index", "Project this image of the run's data instead.", least=0)] = None,
    align: Annotated[
        str, part_option("--align", "aligner", "Aligner of image files, with options.", "NAME", "Options")
    ] = "center",
    steps: Annotated[int, number("--steps", "Optimization steps.", least=1)] = 300,
    rate: Annotated[float, number("--rate", "Learning rate of Adam.", "X", kind=float)] = 0.05,
    space: Annotated[
        str | None,
        option("--space", "Latent space; w+ has a style per layer. Default: w if the generator has it.", "z|w|w+"),
    ] = None,
    noise: Annotated[bool, switch("--noise", "Optimize the noise maps too.", _LOSS)] = False,
    features: Annotated[
        str | None,
        part_option(
            "--features", "extractor", "Add a distance of features: lpips, or an extractor.", "lpips|NAME|FILE", _LOSS
        ),
    ] = None,
    feature_weight: Annotated[
        float | None,
        number("--feature-weight", "Weight of the features; pixels have 1. Default: 1.", "X", _LOSS, kind=float),
    ] = None,
    lpips_weights: Annotated[
        Path | None, option("--lpips-weights", "Folder with both LPIPS files, for use offline.", "FOLDER", _LOSS)
    ] = None,
) -> None:
    """Find the latent of each image by optimization, and save it as a code that the other commands take.

    A .png shows the steps as a row per image, a .gif or .webp as frames.
    """
    if (image is None) == (index is None):
        raise OptionError("exactly one source of images is required", "give --image PATH, or --index N of the data")
    if rate <= 0:
        raise OptionError(f"--rate {rate}: the learning rate must be positive", "such as 0.05")
    if feature_weight is not None and features is None:
        raise OptionError(f"--feature-weight {feature_weight}: there are no features", "give --features NAME too")
    if lpips_weights is not None and features != "lpips":
        raise OptionError(f"--lpips-weights {lpips_weights}: not used", "give --features lpips too")
    here = shared.open(moves=True)

    from ganforge.explore import draw_table, project, save_code
    from ganforge.explore.pictures import encode_animation

    where = here.space(space)
    targets = _read_targets(here, image, index, align)
    distance = None if features is None else _open_features(here, features, lpips_weights)
    still = here.suffix == ".png"
    rows, found = [], []
    for position, (name, target) in enumerate(targets.items(), start=1):
        with progress_bar("projecting" if len(targets) == 1 else f"projecting {position} of {len(targets)}") as show:
            result = project(
                where,
                target,
                steps=steps,
                rate=rate,
                seed=shared.seed,
                features=distance,
                feature_weight=1.0 if feature_weight is None else feature_weight,
                noise=noise,
                frames=7 if still else 60,
                progress=show,
            )
        code = here.target.with_suffix(".safetensors")
        if len(targets) > 1:
            code = code.with_stem(f"{code.stem}-{position}")
        save_code(code, where, result.latent, result.noise, here.card["digest"])
        best = min(result.losses)
        print_result(f"{name}: {result.psnr:.2f} dB, loss {best:.5f} from {result.losses[0]:.5f}, code {code.name}")
        numbers = {"image": name, "latent": code.name, "psnr": result.psnr, "loss": best, "losses": result.losses}
        rows.append([target, *result.frames, result.image])
        found.append(numbers)
    record = {"space": where.name, "projections": found}
    if still:
        columns = ["image", *(f"step {step}" for step in result.frame_steps), "best"]
        here.save_table(rows, columns, record, with_real=True)
    else:
        frames = [draw_table([[row[0], row[time]] for row in rows]) for time in range(1, len(rows[0]) - 1)]
        here.save(encode_animation(frames, here.suffix, here.mark(record)), record)


def _read_targets(here: Exploration, paths: list[Path] | None, index: int | None, align: str) -> dict[str, Tensor]:
    """Return images uint8 ``[C, H, W]`` by name: files in the generator's size, or one of the data."""
    from ganforge.config.sources import parse_part
    from ganforge.explore.targets import list_images, read_target
    from ganforge.plugins.part_errors import part_errors

    if paths is not None:
        shape = tuple(here.card["data"]["shape"])
        ((name, options),) = parse_part(align, "aligner", "--align")["aligner"].items()
        aligner = open_registry().build("aligner", name, options)
        with part_errors("aligner", name):
            return {str(path): read_target(path, shape, aligner.align) for path in list_images(paths)}
    assert index is not None
    data = here.open_run().data
    if index >= len(data):
        raise OptionError(f"--index {index}: {data.name} has {len(data)} images", f"the last is {len(data) - 1}")
    return {f"image {index}": data.examples[index]}


def _open_features(here: Exploration, text: str, lpips_weights: Path | None) -> Distance:
    """Open LPIPS or an extractor on the generator's device."""
    from ganforge.explore import FeatureDistance

    device = next(here.generator.parameters()).device
    if text == "lpips":
        from ganforge.evaluation.metrics.distances import open_lpips

        return open_lpips(tuple(here.card["data"]["shape"]), lpips_weights, "--features lpips")[0].to(device)

    from ganforge.core.cache import open_cache
    from ganforge.evaluation.extractors.opening import open_extractor
    from ganforge.evaluation.reporter import TERMINAL
    from ganforge.runs.checkpoint import read_spec

    with open_cache() as cache:
        extractor = open_extractor(
            text,
            read_spec(here.card),
            open_registry(),
            data=lambda: here.open_run().data,
            cache=cache,
            device=device,
            reporter=TERMINAL,
        )
    return FeatureDistance(extractor.to(device))
