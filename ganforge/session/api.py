"""ganforge as a library: train, load, and look at runs from Python."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers, nest
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.contract.parts import Loss
from ganforge.core.console import console, say
from ganforge.core.device import choose_device
from ganforge.core.distributed import ALONE
from ganforge.core.images import grid, to_pil, to_uint8
from ganforge.data.decode import read_picture
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_card, read_spec
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import read_rows
from ganforge.sampling import cycle_labels, generate, refuse_sources
from ganforge.session.notebook import describe_generator, describe_run
from ganforge.session.terminal import Terminal
from ganforge.session.trainer import Finished, Trainer


class Run:
    """A run on disk. Shown in a notebook, it is its newest grid and its newest numbers.

    Args:
        path: Its folder.
        registry: Where its parts are looked up; None for the installed plugins.

    Attributes:
        path: As given.
    """

    def __init__(self, path: Path, registry: Registry | None = None) -> None:
        self.path = path
        self._folder = RunFolder(path)
        self._registry = registry or Registry.installed()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return describe_run(self.path, next(reversed(self.rows), {}), next(reversed(self._pictures()), None))

    @property
    def config(self) -> dict[str, Any]:
        """All that settles it: sections with their options."""
        return self._folder.read_config()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its metrics, oldest first: a row a tick with ``images``, ``seconds`` and numbers by name, and one a score."""
        return [row.tree() for row in read_rows(self._folder.metrics)]

    def load(self, *, best: bool = False) -> Generator:
        """Its averaged generator, on the CPU in evaluation mode; see `load`.

        Args:
            best: The one that scored best, instead of the newest.

        Raises:
            CheckpointError: It has saved none yet, or the file is damaged.
        """
        if best and not self._folder.best_generator.exists():
            raise CheckpointError(f"{self.path} keeps no best generator", "train with --eval-every and --metrics")
        return load(self._folder.best_generator if best else self._folder.find_generator(), self._registry)

    def show(self, images: int | None = None) -> Image.Image:
        """The grid of samples drawn last, or the last one drawn after at most so many images.

        Raises:
            CheckpointError: There is none.
        """
        drawn = [each for each in self._pictures() if images is None or int(each.stem) <= images]
        if not drawn:
            raise CheckpointError(f"{self.path} has drawn no picture yet")
        return read_picture(drawn[-1])

    def sample(self, count: int = 16, *, seed: int = 0, truncation: float = 1.0, best: bool = False) -> Image.Image:
        """Images of the generator in a grid; of classes, each in turn.

        Args:
            count: How many.
            seed: Of the first; the next has the next.
            truncation: Less than 1 for less variety, where the generator has it.
            best: Of the generator that scored best.

        Raises:
            OptionError: The data are no images, or the generator cannot be truncated, or makes its images of others.
        """
        generator, data = self.load(best=best), read_spec(read_card(self._folder.find_generator()))
        if not data.is_image:
            raise OptionError(f"{self.path} generates vectors", "take ganforge.generate(run.load(), count)")
        refuse_sources(data, "Run.sample")
        labels = cycle_labels(count, data.num_classes)
        return to_pil(grid(to_uint8(generate(generator, count, seed=seed, labels=labels, truncation=truncation))))

    def resume(
        self,
        *,
        images: int | str | None = None,
        minutes: float | None = None,
        device: str | None = None,
        data: str | None = None,
        quiet: bool = False,
    ) -> Run:
        """Go on where it stopped, with a larger budget.

        Args:
            images: Stop after so many, all sittings together.
            minutes: Stop after so long, likewise.
            device: Another one.
            data: The path of its data, which confirms that the run of another user may read them.
            quiet: Show nothing.

        Raises:
            OptionError: It has nothing left to do.
            CheckpointError: Its checkpoints are damaged, or belong to other data.
        """
        self._folder.confirm_data(data)
        flags = nest(_given({"training.images": images, "training.minutes": minutes, "training.device": device}))
        config = resolve(self._registry, self.config, flags)
        with _told(quiet) as teller:
            trainer = Trainer(config, self._registry, choose_device(config.training.device), teller, ALONE)
            return Run(_finish(trainer.resume(self._folder)).path, self._registry)

    def _pictures(self) -> list[Path]:
        return sorted(each for each in self._folder.samples.glob("*.png") if each.stem.isdecimal())


def train(
    *,
    arch: str | None = None,
    data: Any = None,
    loss: str | type[Loss] | None = None,
    generator: str | type[Generator] | None = None,
    discriminator: str | type[Discriminator] | None = None,
    resolution: int | None = None,
    reg: Sequence[str] = (),
    augment: Sequence[str] = (),
    log: Sequence[str] = (),
    images: int | str | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
    name: str | None = None,
    out: str | Path = "runs",
    quiet: bool = False,
) -> Run:
    """Train a GAN, as ``ganforge train`` does with the flags of the same names.

    Args:
        arch: Recipe, such as ``dcgan``; ``rpgan`` if left out.
        data: A path or a name; or any object with ``__len__`` and ``__getitem__`` that yields what `Dataset` says.
        loss: Its name, or a class of your own.
        generator: Likewise.
        discriminator: Likewise.
        resolution: Edge of the images in pixels.
        reg: Penalties, such as ``r1:weight=5``.
        augment: Augmentations, such as ``ada``.
        log: Loggers, such as ``tensorboard``.
        images: Stop after so many real images were shown, such as 50_000 or ``50k``.
        minutes: Stop after so long.
        batch: Images per step; None for the recipe's, which may depend on the device.
        seed: All random numbers follow from it.
        device: ``cuda``, ``cpu`` or ``auto``.
        settings: Any option of any part by its path: ``{"generator.width": 96}``.
        config: A TOML file, or a run's ``config.json``.
        plugins: Paths of one-file plugins.
        name: Of the run's folder, behind its number.
        out: The folder of all runs.
        quiet: Show nothing.

    Returns:
        The run; after Ctrl-C, as far as it came. Other signals reach the program once the checkpoint is written.

    Raises:
        GanforgeError: What was asked for cannot be had, or training failed; the message says what to do.
    """
    own: dict[str, dict[str, Any]] = {}
    flags = _given(
        {
            "recipe": arch,
            "data.source": _name("dataset", data, own),
            "data.resolution": resolution,
            "loss.name": _name("loss", loss, own),
            "generator.name": _name("generator", generator, own),
            "discriminator.name": _name("discriminator", discriminator, own),
            "training.images": images,
            "training.minutes": minutes,
            "training.batch": batch,
            "training.seed": seed,
            "training.device": device,
        }
    )
    loaded = load_plugins([Path(each) for each in plugins])
    registry = Registry([*loaded, Plugin("program", "this program", "", "ok", parts=own)])
    layers = load_layers(Path(config) if config else None, nest(flags), reg, augmentations=augment, loggers=log)
    settled = resolve(registry, *layers, nest(settings or {}))
    with _told(quiet) as teller:
        if data is None and config is None:
            teller.say(f"no data given: {settled.recipe} trains on {settled.data.source}; data=... names others")
        trainer = Trainer(settled, registry, choose_device(settled.training.device), teller, ALONE)
        return Run(_finish(trainer.start(Path(out), name)).path, registry)


def open_run(run: str | Path | None = None, out: str | Path = "runs") -> Run:
    """A run by its folder, its name or its number; the newest if left out.

    Raises:
        OptionError: There is none.
    """
    return Run(RunFolder.find(None if run is None else str(run), Path(out)).path)


def load(run: Run | str | Path | int, registry: Registry | None = None) -> Generator:
    """A trained generator from one safetensors file, ready to be called; in a notebook it shows some samples.

    Args:
        run: A ``generator.safetensors``; or a run: itself, its folder, or its name or number under ``runs``.
        registry: Where its architecture is looked up; None for the installed plugins.

    Returns:
        The network on the CPU in evaluation mode: ``generator(torch.randn(16, generator.z_dim))``.

    Raises:
        CheckpointError: The file is missing, damaged or of another kind.
        OptionError: Its architecture is in no plugin that is installed or named.
    """
    path = run.path if isinstance(run, Run) else Path(str(run))
    if not path.exists() and path.suffix != ".safetensors" and Path("runs").is_dir():
        path = RunFolder.find(str(run), Path("runs")).path
    generator, card = load_generator(path / "generator.safetensors" if path.is_dir() else path, registry)
    # Only here it is known what it generates, such as the number of classes.
    generator._repr_html_ = partial(describe_generator, generator, read_spec(card))  # type: ignore[assignment]
    return generator


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}


def _name(kind: str, part: Any, own: dict[str, dict[str, Any]]) -> Any:
    """The name of a part; one that is no name but a part itself is put among the program's own, under a name."""
    if part is None or isinstance(part, str | Path):
        return None if part is None else str(part)
    if kind == "dataset":
        own[kind] = {"given": lambda: part}
        return "given"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", part.__name__).lower().replace("_", "-")
    own[kind] = {name: part}
    return name


def _finish(finished: Finished) -> RunFolder:
    """Say that a run was stopped by a signal, and deliver the signal to the program unless it is Ctrl-C."""
    folder, stopped = finished.folder, finished.outcome.stopped
    if stopped:
        say(f"stopped by {stopped.name}; go on with: ganforge.open_run({str(folder.path)!r}).resume()")
        if stopped != signal.SIGINT:
            signal.raise_signal(stopped)
    return folder


@contextmanager
def _told(quiet: bool) -> Iterator[Terminal]:
    """Whoever tells of a run, or keeps quiet."""
    before, console.quiet = console.quiet, quiet or console.quiet
    try:
        yield Terminal()
    finally:
        console.quiet = before
