"""The command ``ganforge infogan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def draw(
    run: Annotated[str | None, typer.Argument(help="Run: directory, name or number; the newest if not given.")] = None,
    code: Annotated[int | None, typer.Option(help="One category only.")] = None,
    count: Annotated[int, typer.Option(help="Images per category.", min=1, max=1000)] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the first image.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    to: Annotated[Path, typer.Option(help="PNG to write.")] = Path("codes.png"),
    no_marking: Annotated[
        bool, typer.Option("--no-marking", help="Omit the metadata that mark the picture as generated.")
    ] = False,
    classifier: Annotated[
        Path | None, typer.Option(help="Classifier of ganforge extractor train: print the class of each category.")
    ] = None,
) -> None:
    """Draw a row of images for each category of an InfoGAN; a column has equal noise and continuous codes."""
    import torch
    from ganforge import OptionError, load, open_run
    from ganforge.core.images import encode_png
    from ganforge.runs.checkpoint import read_card
    from ganforge.runs.marking import name_seeds, xmp_packet
    from ganforge.sampling import draw_latents
    from PIL import Image

    from ganforge_infogan.networks import CodeGenerator
    from ganforge_infogan.purity import describe_purity

    if to.suffix.lower() != ".png":
        raise OptionError(f"--to {to}: pictures are written as .png", f"such as {to.with_suffix('.png')}")
    opened = open_run(run, out)
    generator = load(opened)
    if not isinstance(generator, CodeGenerator):
        raise OptionError("this run has no codes", "train one with --arch infogan")
    if code is not None and not 0 <= code < generator.categories:
        raise OptionError(f"--code {code}: out of range", f"from 0 to {generator.categories - 1}")
    z = draw_latents(count, generator.z_dim, seed)
    with torch.no_grad():
        rows = [generator(z, None, each) for each in (range(generator.categories) if code is None else (code,))]
    # [rows, columns, C, H, W] to one picture [rows * H, columns * W, C].
    grid = torch.stack(rows).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    pixels = (grid * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()
    picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    card = read_card(opened.path / "generator.safetensors")
    to.write_bytes(encode_png(picture, b"" if no_marking else xmp_packet(card, name_seeds(range(seed, seed + count)))))
    typer.echo(to)
    for line in describe_purity(generator, classifier, seed) if classifier else ():
        typer.echo(line)
