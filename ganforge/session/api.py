"""Python interface: train, load and inspect runs."""

from __future__ import annotations

import inspect
import re
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers, nest
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.contract.parts import Loss
from ganforge.core.console import say
from ganforge.core.device import choose_device
from ganforge.core.distributed import ALONE
from ganforge.data.decode import read_picture
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_card, read_spec
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import read_rows
from ganforge.session.notebook import describe_generator, describe_run
from ganforge.session.samples import draw_samples, write_png
from ganforge.session.terminal import open_terminal
from ganforge.session.trainer import Finished, Trainer
from ganforge.session.transfer import inherit


class Run:
    """A run on disk, by its directory; a notebook shows its newest sample grid and metrics.

    Args:
        path: Run directory.
        registry: Available parts; None for the installed plugins.
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
        """Configuration by section."""
        return self._folder.read_config()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Metrics, oldest first: a row per tick with ``images``, ``seconds`` and statistics, a row per evaluation."""
        return [row.tree() for row in read_rows(self._folder.metrics)]

    def load(self, *, best: bool = False) -> Generator:
        """Load its EMA generator on the CPU in evaluation mode.

        Args:
            best: Whether to load the generator with the best score instead of the newest.

        Raises:
            CheckpointError: Not found or damaged.
        """
        if best and not self._folder.best_generator.exists():
            hint = "train with settings={'training.eval_every': '50k', 'training.metrics': ['fd']}"
            raise CheckpointError(f"{self.path}: no best generator", hint)
        return load(self._folder.best_generator if best else self._folder.find_generator(), self._registry)

    def show(self, images: int | None = None) -> Image.Image:
        """Return the newest sample grid, or the newest after at most `images` images.

        Raises:
            CheckpointError: Not found.
        """
        drawn = [each for each in self._pictures() if images is None or int(each.stem) <= images]
        if not drawn:
            raise CheckpointError(f"{self.path}: no sample grid yet")
        return read_picture(drawn[-1])

    def sample(
        self,
        count: int = 16,
        *,
        seed: int = 0,
        truncation: float = 1.0,
        best: bool = False,
        to: str | Path | None = None,
    ) -> Image.Image:
        """Generate images in a grid; classes take turns.

        The file that `to` names is marked as generated. ``info["xmp"]`` is the packet that does so.

        Args:
            count: Number of images.
            seed: Seed of the first image; incremented per image.
            truncation: Below 1 for less variety, if the generator supports it.
            best: Whether to use the generator with the best score.
            to: PNG file to write too.

        Raises:
            OptionError: The run generates vectors, requires source images, or does not support truncation; or `to` does
                not end in ``.png``.
        """
        card = read_card(self._folder.best_generator if best else self._folder.find_generator())
        if not read_spec(card).is_image:
            raise OptionError(f"{self.path} generates vectors", "use ganforge.generate(run.load(), count)")
        picture = draw_samples(self.load(best=best), card, count, seed, truncation)
        if to is not None:
            write_png(Path(to), picture)
        return picture

    def resume(
        self,
        *,
        images: int | str | None = None,
        minutes: float | None = None,
        device: str | None = None,
        data: str | None = None,
        quiet: bool = False,
    ) -> Run:
        """Resume training with a larger budget.

        Args:
            images: Total number of images, such as 50_000 or ``50k``.
            minutes: Total training time in minutes.
            device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``; None for the run's device.
            data: Path of its data, required for another user's run.
            quiet: Whether to suppress output.

        Raises:
            OptionError: The budget is already spent.
            CheckpointError: Checkpoints are damaged, or from other data.
        """
        given = nest(_given({"training.images": images, "training.minutes": minutes, "training.device": device}))
        with open_terminal(quiet, inspect.signature(train).parameters) as terminal:
            self._folder.confirm_data(data)
            config = resolve(self._registry, self.config, given)
            trainer = Trainer(config, self._registry, choose_device(config.training.device), terminal, ALONE)
            return Run(_finish(trainer.resume(self._folder)).path, self._registry)

    def _pictures(self) -> list[Path]:
        return self._folder.sample_paths()


def train(
    *,
    arch: str | None = None,
    data: Any = None,
    loss: str | type[Loss] | None = None,
    generator: str | type[Generator] | None = None,
    discriminator: str | type[Discriminator] | None = None,
    resolution: int | str | None = None,
    reg: Sequence[str] = (),
    augment: Sequence[str] = (),
    log: Sequence[str] = (),
    callback: Sequence[str] = (),
    images: int | str | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    init_from: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    plugins: Sequence[str | Path] = (),
    name: str | None = None,
    out: str | Path = "runs",
    quiet: bool = False,
) -> Run:
    """Train a GAN, as ``ganforge train`` with the flags of the same names.

    Args:
        arch: Recipe, such as ``dcgan``; default ``rpgan``.
        data: Path or name; or any object with ``__len__`` and ``__getitem__`` that yields items as `Dataset`.
        loss: Name, or a class.
        generator: Name, or a class.
        discriminator: Name, or a class.
        resolution: Edge of the images in pixels, or a text such as ``256x192``, width first.
        reg: Regularizers, such as ``r1:weight=5``.
        augment: Augmentations, such as ``ada``.
        log: Loggers, such as ``tensorboard``.
        callback: Callbacks, such as ``early-stop:patience=50k``.
        images: Real images to train on, such as 50_000 or ``50k``.
        minutes: Training time in minutes.
        batch: Images per step; None for the recipe's value, which may depend on the device.
        seed: Random seed.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` or ``xpu``.
        init_from: Run, or file of weights, that initializes the networks.
        settings: Options by path: ``{"generator.width": 96}``.
        config: TOML file, or a run's ``config.json``.
        plugins: Paths of one-file plugins.
        name: Suffix of the run directory.
        out: Directory of all runs.
        quiet: Whether to suppress output.

    Returns:
        The run, also after Ctrl-C. Other signals reach the program after the checkpoint is written.

    Raises:
        GanforgeError: Invalid options, or training failed.
    """
    own: dict[str, dict[str, Any]] = {}
    given = _given(
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
            "training.init_from": None if init_from is None else str(init_from),
        }
    )
    with open_terminal(quiet, inspect.signature(train).parameters) as terminal:
        loaded = load_plugins([Path(each) for each in plugins])
        registry = Registry([*loaded, Plugin("program", "this program", "", "ok", parts=own)])
        layers = load_layers(Path(config) if config else None, nest(given), reg, [], augment, log, callback)
        layers.append(nest(settings or {}))
        layers = inherit(layers, registry, Path(out), terminal.say)
        resolved = resolve(registry, *layers)
        if data is None and config is None:
            terminal.say(f"no data given: {resolved.recipe} trains on {resolved.data.source}; set data=... for others")
        trainer = Trainer(resolved, registry, choose_device(resolved.training.device), terminal, ALONE, layers)
        return Run(_finish(trainer.start(Path(out), name)).path, registry)


def open_run(run: str | Path | None = None, out: str | Path = "runs") -> Run:
    """Open a run by its directory, name or number, or a shipped generator by its name; the newest run by default.

    Raises:
        OptionError: Not found.
    """
    return Run(RunFolder.find(None if run is None else str(run), Path(out)).path)


def load(run: Run | str | Path | int, registry: Registry | None = None) -> Generator:
    """Load a generator from a safetensors file; a notebook shows samples.

    Args:
        run: A ``generator.safetensors``; a run: the object, its directory, or its name or number under ``runs``; or the
            name of a shipped generator, such as ``avatars``.
        registry: Available parts; None for the installed plugins.

    Returns:
        The network on the CPU in evaluation mode: ``generator(torch.randn(16, generator.z_dim))``.

    Raises:
        CheckpointError: Not found, damaged or not a generator.
        OptionError: No plugin provides its architecture.
    """
    path = run.path if isinstance(run, Run) else Path(str(run))
    if path.suffix != ".safetensors" and not (path / "generator.safetensors").is_file():
        path = RunFolder.find(str(run), Path("runs")).path
    generator, card = load_generator(path / "generator.safetensors" if path.is_dir() else path, registry)
    # The generator itself does not know its data, such as the number of classes.
    generator._repr_html_ = partial(describe_generator, generator, card)  # type: ignore[assignment]
    return generator


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _name(kind: str, part: Any, own: dict[str, dict[str, Any]]) -> Any:
    """Return the name of a part; register a part that is an object or a class."""
    if part is None or isinstance(part, str | Path):
        return None if part is None else str(part)
    if kind == "dataset":
        own[kind] = {"given": lambda: part}
        return "given"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", part.__name__).lower().replace("_", "-")
    own[kind] = {name: part}
    return name


def _finish(finished: Finished) -> RunFolder:
    """Report a stop by a signal, and raise the signal in the program unless it is Ctrl-C."""
    folder, stopped = finished.folder, finished.outcome.stopped
    if stopped:
        say(f"stopped by {stopped.name}; resume with: ganforge.open_run({str(folder.path)!r}).resume()")
        if stopped != signal.SIGINT:
            signal.raise_signal(stopped)
    return folder
