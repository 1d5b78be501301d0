"""Make the images of the guides: ``python docs/pictures.py losses penalties``; without names, all of them.

Runs are cached in ``runs/pictures``; images are written to ``docs/images``.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ganforge import Augmentation, DataSpec, Loss, Pair
from ganforge.builtin.ada import ADA
from ganforge.builtin.augmentations import DiffAugment, Flip
from ganforge.builtin.avatars import Avatars
from ganforge.builtin.losses import ganforge_losses
from ganforge.core.images import gif_bytes, grid, to_float, to_pil, to_uint8

IMAGES = Path(__file__).parent / "images"
RUNS = Path("runs/pictures")

RING = """--arch mlp --data ring-8 --batch 128 --images 150k --set training.tick_images=150k
    --set generator.hidden=128,128 --set discriminator.hidden=128,128 --set generator.z_dim=2
    --set optimizer.generator_lr=1e-3 --set optimizer.discriminator_lr=1e-3
    --set optimizer.beta1=0.5 --set training.ema_images=0"""

PENALTIES = {
    "none": "--loss nonsat",
    "r1": "--loss nonsat --reg r1:weight=0.1",
    "r1 + r2": "--loss nonsat --reg r1:weight=0.1 --reg r2:weight=0.1",
    "gp": "--loss nonsat --reg gp:weight=0.1",
    "dragan": "--loss nonsat --reg dragan:weight=0.1",
    "lecam": "--loss nonsat --reg lecam",
    "clip": "--loss nonsat --reg clip:bound=0.1",
    # Five critic steps take five times the images.
    "wasserstein + gp, --d-steps 5": "--loss wasserstein --reg gp:weight=0.1 --d-steps 5 --images 750k",
}

STABILITY = {
    "nothing": "--loss nonsat",
    "feature-matching": "--loss nonsat --reg feature-matching",
    "historical-averaging": "--loss nonsat --reg historical-averaging",
    "smoothing=0.1": "--loss nonsat --set loss.smoothing=0.1",
    "mlp-packed": "--loss nonsat --discriminator mlp-packed",
    "minibatch=deviation": "--loss nonsat --set discriminator.minibatch=deviation",
    "minibatch=discrimination": "--loss nonsat --set discriminator.minibatch=discrimination",
    "r1 + r2": "--loss nonsat --reg r1:weight=0.1 --reg r2:weight=0.1",
}

AVATARS = """--arch dcgan --data avatars --resolution 32 --images 24k --batch 32 --loss hinge
    --set generator.width=16 --set discriminator.width=16 --set training.samples=36 --set training.tick_images=24k"""

LANDSCAPE = """--arch mlp --loss rpgan --data ring-8 --images 300k --batch 256
    --set generator.hidden=128,128 --set discriminator.hidden=128,128 --set generator.z_dim=2
    --set optimizer.beta1=0 --set optimizer.beta2=0.99
    --set optimizer.generator_lr=cosine:1e-3:1e-5:300k --set optimizer.discriminator_lr=cosine:1e-3:1e-5:300k
    --reg r1:weight=cosine:0.1:0.00001:200k --reg r2:weight=cosine:0.1:0.00001:200k"""


MINIMAX = "--loss minimax --reg r1:weight=0 --reg r2:weight=0 --images 2M --seed 2"


STYLEGAN = "--arch stylegan --data avatars --resolution 64 --minutes 30"

STAGES = " ".join(
    f"--set {player}.{option}=4000"
    for player in ("generator", "discriminator")
    for option in ("stage_images", "fade_images")
)
GROWING = f"--arch pggan --data avatars --resolution 32 --images 110k --set training.tick_images=4k {STAGES}"


def run_of(arguments: str) -> Path:
    """Return the run directory of ``ganforge train`` with these arguments; train if it does not exist."""
    words = arguments.split()
    folder = RUNS / f"{zlib.crc32(' '.join(words).encode()):08x}"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [sys.executable, "-m", "ganforge", "train", *words, "--out", str(unfinished)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        unfinished.rename(folder)
    (run,) = folder.iterdir()
    return run


def pictures_of(arguments: str) -> list[Image.Image]:
    """Return the sample grids of a run with these arguments, oldest first."""
    return [Image.open(path).convert("RGB") for path in sorted(run_of(arguments).glob("samples/0*.png"))]


def explore(run: Path, arguments: str) -> Image.Image:
    """Return the image of a command of ``ganforge explore``."""
    picture = run / "explore" / f"{zlib.crc32(arguments.encode()):08x}.png"
    name, *words = arguments.split()
    command = [sys.executable, "-m", "ganforge", "explore", name, str(run), *words, "--to", str(picture)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return Image.open(picture).convert("RGB")


def table(panels: dict[str, Image.Image], columns: int, width: int) -> Image.Image:
    """Arrange panels of one shape in rows, each `width` pixels wide and below its name."""
    first = next(iter(panels.values()))
    height, strip, gap = round(width * first.height / first.width), 22, 6
    size = columns * (width + gap) - gap, math.ceil(len(panels) / columns) * (height + strip + gap) - gap
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for index, (name, panel) in enumerate(panels.items()):
        left, top = index % columns * (width + gap), index // columns * (height + strip + gap)
        draw.text((left + width / 2, top + strip / 2), name, fill="black", font=font, anchor="mm")
        canvas.paste(panel.resize((width, height), Image.Resampling.LANCZOS), (left, top + strip))
    return canvas


def save(picture: Image.Image, name: str) -> None:
    """Write an image as a PNG with a palette."""
    picture.quantize(256, kmeans=4, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def curve_panel(loss: Loss, edge: int = 500) -> Image.Image:
    """Plot one example's contribution to a loss over its logit, relative to logit 0; the paired logit is 0."""
    logits, zero = torch.linspace(-4, 4, edge), torch.zeros(1)
    # Color and width of each curve; thin curves are drawn over thick ones.
    curves = {
        ("#2a6fc0", 8): [float(loss.discriminator(Pair(zero, each[None]))) for each in logits],
        ("#1e1e23", 16): [float(loss.discriminator(Pair(each[None], zero))) for each in logits],
        ("#eb6e14", 6): [float(loss.generator(Pair(zero, each[None]))) for each in logits],
    }
    panel = Image.new("RGB", (edge, edge), "#f6f6f6")
    draw = ImageDraw.Draw(panel)
    draw.line((0, edge / 2, edge, edge / 2), fill="#909090", width=2)
    draw.line((edge / 2, 0, edge / 2, edge), fill="#909090", width=2)
    for (color, width), values in curves.items():
        heights = [edge / 2 - (value - values[edge // 2]) * edge / 8 for value in values]
        draw.line(list(enumerate(heights)), fill=color, width=width)
    return panel


def losses() -> None:
    """Losses as curves, and their landscapes on the ring: alone, and with R1 and R2."""
    every = ganforge_losses()
    save(table({name: curve_panel(loss()) for name, loss in every.items()}, 6, 190), "losses-curves.png")
    alone = {name: pictures_of(f"{RING} --loss {name}")[-1] for name in every}
    both = "--reg r1:weight=0.1 --reg r2:weight=0.1"
    held = {f"{name} + r1 + r2": pictures_of(f"{RING} --loss {name} {both}")[-1] for name in every}
    save(table(alone | held, 6, 190), "losses-ring.png")


def penalties() -> None:
    """Landscapes of the loss ``nonsat`` on the ring, with each penalty."""
    save(
        table({name: pictures_of(f"{RING} {flags}")[-1] for name, flags in PENALTIES.items()}, 4, 256),
        "penalties-ring.png",
    )


def stability() -> None:
    """Landscapes with each stabilizer, and normalizations of the discriminator on faces."""
    save(
        table({name: pictures_of(f"{RING} {flags}")[-1] for name, flags in STABILITY.items()}, 4, 256),
        "stability-ring.png",
    )
    flags = "--set discriminator.normalization"
    faces = {name: pictures_of(f"{AVATARS} {flags}={name}")[-1] for name in ("none", "batch", "spectral")}
    save(table(faces, 3, 320), "stability-avatars.png")


def modes() -> None:
    """Samples of the recipe ``mixture`` and of the minimax game with the same networks; takes half an hour."""
    panels = {}
    for data in ("ring-8", "grid-25"):
        panels[f"{data}, mixture"] = pictures_of(f"--arch mixture --data {data}")[-1]
        panels[f"{data}, minimax"] = pictures_of(f"--arch mixture --data {data} {MINIMAX}")[-1]
    save(table(panels, 4, 256), "modes-mixtures.png")


def augmentation() -> None:
    """Faces with each augmentation."""
    torch.manual_seed(0)
    faces = to_float(torch.stack([pixels for pixels, _ in Avatars(resolution=64).__getitems__(list(range(8)))]))
    images = faces.permute(0, 3, 1, 2)
    data = DataSpec((3, 64, 64))
    ada = ADA(data)
    ada.p.fill_(ada.max)
    changes: dict[str, Augmentation] = {"flip": Flip(data)}
    for policy in ("color", "translation", "cutout"):
        changes[f"diffaugment:policy={policy}"] = DiffAugment(data, policy=(policy,))
    changes |= {"diffaugment": DiffAugment(data), "ada, with p at 0.8": ada}
    rows = {"unchanged": images} | {name: change(images) for name, change in changes.items()}
    panels = {name: to_pil(grid(to_uint8(row), columns=len(row))) for name, row in rows.items()}
    save(table(panels, 1, 526), "augmentation-avatars.png")


def landscape() -> None:
    """Animation of a successful run."""
    frames = pictures_of(LANDSCAPE)
    chosen = [frames[round(index)] for index in torch.linspace(0, len(frames) - 1, 40).tolist()]
    (IMAGES / "ring-8-landscape.gif").write_bytes(gif_bytes(chosen))


def stylegan() -> None:
    """StyleGAN after half an hour on faces: samples, mixing, truncation, noise, arithmetic, directions."""
    run = run_of(STYLEGAN)
    save(pictures_of(STYLEGAN)[-1], "stylegan-avatars.png")
    sources = "--rows 1,2,3,4 --columns 11,12,13,14,15"
    mixed = {layers: explore(run, f"mix {sources} --layers {layers}") for layers in ("coarse", "middle", "fine")}
    save(table(mixed, 3, 420), "stylegan-mix.png")
    save(explore(run, "truncation"), "stylegan-truncation.png")
    save(explore(run, "noise"), "stylegan-noise.png")
    save(explore(run, "arith --attribute glasses --layers 5-9 --strength 2"), "explore-arith.png")
    save(explore(run, "directions --count 6"), "explore-directions.png")


def growing() -> None:
    """Faces of a progressive GAN at the end of each stage."""
    pictures = pictures_of(GROWING)  # one every 4,000 images
    panels = {f"{4 << level} x {4 << level}": pictures[1 + 2 * level] for level in range(4)}
    panels["32 x 32, 82,000 images later"] = pictures[-1]
    rows = {name: panel.crop((0, 0, panel.width, 34)) for name, panel in panels.items()}
    save(table(rows, 1, 540), "growing-avatars.png")


PICTURES: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (losses, penalties, stability, modes, augmentation, landscape, stylegan, growing)
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or PICTURES:
        PICTURES[chosen]()
