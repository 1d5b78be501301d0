"""Hooks that a plugin implements.

A hook takes no arguments and returns a mapping from name to part. Names are lower-case letters, digits and hyphens.
A plugin is a module with such functions, in the entry-point group ``ganforge`` or given as ``--plugin FILE.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from ganforge.contract.data import Dataset
    from ganforge.contract.exporter import Exporter
    from ganforge.contract.extractor import Extractor
    from ganforge.contract.logger import Logger
    from ganforge.contract.networks import Discriminator, Generator
    from ganforge.contract.parts import Augmentation, Loss, Recipe, Regularizer

hookspec = pluggy.HookspecMarker("ganforge")
hookimpl = pluggy.HookimplMarker("ganforge")


@hookspec
def ganforge_generators() -> Mapping[str, type[Generator]]:  # type: ignore[empty-body]
    """Generators by name.

    Example:
        ```python
        import torch
        from ganforge import DataSpec, Generator, hookimpl

        class Linear(Generator):
            "One layer."
            def __init__(self, data: DataSpec, *, z_dim: int = 16) -> None:
                super().__init__()
                self.z_dim = z_dim
                self.layer = torch.nn.Linear(z_dim, data.shape[0])
            def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
                return self.layer(z)

        @hookimpl
        def ganforge_generators():
            return {"linear": Linear}
        ```
    """


@hookspec
def ganforge_discriminators() -> Mapping[str, type[Discriminator]]:  # type: ignore[empty-body]
    """Discriminators by name.

    Example:
        ```python
        import torch
        from ganforge import DataSpec, Discriminator, hookimpl

        class Linear(Discriminator):
            "One layer."
            def __init__(self, data: DataSpec, *, scale: float = 1.0) -> None:
                super().__init__()
                self.scale = scale
                self.layer = torch.nn.Linear(data.shape[0], 1)
            def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
                return self.scale * self.layer(images).squeeze(1)

        @hookimpl
        def ganforge_discriminators():
            return {"linear": Linear}
        ```
    """


@hookspec
def ganforge_losses() -> Mapping[str, type[Loss]]:  # type: ignore[empty-body]
    """Losses by name.

    Example:
        ```python
        import torch
        from ganforge import Loss, Pair, hookimpl

        class LeastSquares(Loss):
            "Least squares (Mao 2017)."
            def discriminator(self, logits: Pair) -> torch.Tensor:
                return (logits.real - 1).square().mean() + logits.fake.square().mean()
            def generator(self, logits: Pair) -> torch.Tensor:
                return (logits.fake - 1).square().mean()

        @hookimpl
        def ganforge_losses():
            return {"least-squares": LeastSquares}
        ```
    """


@hookspec
def ganforge_regularizers() -> Mapping[str, type[Regularizer]]:  # type: ignore[empty-body]
    """Regularizers by name.

    Example:
        ```python
        import torch
        from ganforge import Regularizer, Step, hookimpl

        class Drift(Regularizer):
            "Keeps logits of real examples near zero (Karras 2018)."
            weight = 0.001
            def discriminator(self, step: Step) -> torch.Tensor:
                step.log("mean", step.logits.real.mean())
                return step.logits.real.square().mean()

        @hookimpl
        def ganforge_regularizers():
            return {"drift": Drift}
        ```
    """


@hookspec
def ganforge_datasets() -> Mapping[str, type[Dataset] | Callable[..., Any]]:  # type: ignore[empty-body]
    """Data sets by name: classes, or functions that return a map-style data set.

    Example:
        ```python
        import torch
        from ganforge import Dataset, hookimpl

        class Squares(Dataset):
            "White squares on black."
            def __init__(self, *, count: int = 1000, resolution: int = 32) -> None:
                self.count, self.resolution = count, resolution
            def __len__(self) -> int:
                return self.count
            def __getitem__(self, index: int) -> torch.Tensor:
                image = torch.zeros(self.resolution, self.resolution, dtype=torch.uint8)
                edge = index % (self.resolution // 2)
                image[edge:-edge or None, edge:-edge or None] = 255
                return image

        @hookimpl
        def ganforge_datasets():
            return {"squares": Squares}
        ```
    """


@hookspec
def ganforge_augmentations() -> Mapping[str, type[Augmentation]]:  # type: ignore[empty-body]
    """Augmentations by name.

    Example:
        ```python
        import torch
        from ganforge import Augmentation, DataSpec, hookimpl

        class Noise(Augmentation):
            "Adds noise."
            def __init__(self, data: DataSpec, *, strength: float = 0.1) -> None:
                super().__init__()
                self.strength = strength
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return images + self.strength * torch.randn_like(images)

        @hookimpl
        def ganforge_augmentations():
            return {"noise": Noise}
        ```
    """


@hookspec
def ganforge_recipes() -> Mapping[str, Recipe]:  # type: ignore[empty-body]
    """Recipes by name; ``ganforge train --arch NAME`` selects one.

    Example:
        ```python
        from ganforge import Recipe, hookimpl

        @hookimpl
        def ganforge_recipes():
            return {
                "wide-mlp": Recipe(
                    summary="An MLP twice as wide.",
                    source="Goodfellow et al. 2014, Generative Adversarial Nets",
                    settings={
                        "generator": {"name": "mlp"},
                        "discriminator": {"name": "mlp"},
                        "loss": {"name": "nonsat"},
                        "regularizers": {"r1": {"weight": 0.1, "every": 4}},
                        "augmentations": {"diffaugment": {"probability": 0.5}},
                        "optimizer": {"beta1": 0.5, "generator_lr": "cosine:2e-4:0:1000000"},
                        "training": {"batch": 128},
                    },
                )
            }
        ```
    """


@hookspec
def ganforge_exporters() -> Mapping[str, type[Exporter]]:  # type: ignore[empty-body]
    """Exporters by name; ``ganforge export --format NAME`` selects one.

    Example:
        ```python
        import torch
        from ganforge import Exporter, ExportReport, generate, hookimpl

        class Text(Exporter):
            "Examples as text."
            suffix = ".txt"
            def __init__(self, *, count: int = 100) -> None:
                self.count = count
            def export(self, generator, card, path) -> ExportReport:
                rows = generate(generator, self.count).flatten(1).tolist()
                text = "; ".join(",".join(map(str, row)) for row in rows)
                read = [[float(number) for number in line.split(",")] for line in text.split("; ")]
                worst = (torch.tensor(read) - torch.tensor(rows)).abs().max().item()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                return ExportReport(path, len(text), len(rows), worst, "examples, read back")

        @hookimpl
        def ganforge_exporters():
            return {"text": Text}
        ```
    """


@hookspec
def ganforge_extractors() -> Mapping[str, type[Extractor]]:  # type: ignore[empty-body]
    """Extractors by name; ``ganforge eval --extractor NAME`` selects one.

    Example:
        ```python
        import torch
        from ganforge import DataSpec, Extractor, hookimpl

        class Thumbnail(Extractor):
            "Images of 8 x 8 pixels."
            label = "thumbnail"
            preprocessing = "mean of areas, 8 x 8, in [0, 1]"
            def __init__(self, data: DataSpec, *, size: int = 8) -> None:
                super().__init__()
                self.pool = torch.nn.AdaptiveAvgPool2d(size)
            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
                return self.pool(images.float() / 255).flatten(1), None

        @hookimpl
        def ganforge_extractors():
            return {"thumbnail": Thumbnail}
        ```
    """


@hookspec
def ganforge_loggers() -> Mapping[str, type[Logger]]:  # type: ignore[empty-body]
    r"""Loggers by name; ``ganforge train --log NAME`` selects one.

    Example:
        ```python
        from ganforge import Logger, hookimpl

        class Table(Logger):
            "Numbers as a table of images, name and value, separated by tabs."
            def __init__(self, *, file: str = "table.tsv") -> None:
                self.file = file
            def start(self, run, config, images) -> None:
                self.path = run / self.file
            def log(self, images, values) -> None:
                with self.path.open("a") as table:
                    table.writelines(f"{images}\t{name}\t{value}\n" for name, value in values.items())

        @hookimpl
        def ganforge_loggers():
            return {"table": Table}
        ```
    """
