"""ganforge: train, explore, evaluate and export generative adversarial networks.

Every public name is loaded when it is first used, so that ``import ganforge`` and ``ganforge --help`` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganforge.version import API_VERSION, __version__

if TYPE_CHECKING:
    from ganforge.api import Run, load, open_run, train
    from ganforge.capabilities import Growing, Recomputable, StyleGenerator
    from ganforge.checkpoint import save_generator
    from ganforge.data.cache import cache_folder
    from ganforge.data.decode import open_picture, picture_shape
    from ganforge.data.sources import open_source
    from ganforge.errors import CheckpointError, DataError, GanforgeError, OptionError, PluginError, nearest
    from ganforge.exporter import Exporter, ExportReport
    from ganforge.extractor import Extractor
    from ganforge.hookspecs import hookimpl
    from ganforge.interfaces import (
        Augmentation,
        ClassifierDiscriminator,
        Dataset,
        DataSpec,
        Discriminator,
        FeatureDiscriminator,
        Generator,
        Loss,
        Pair,
        Paired,
        Recipe,
        Regularizer,
        Step,
    )
    from ganforge.layers.adain import AdaIN
    from ganforge.layers.conditioning import (
        ConditionalBatchNorm2d,
        ConditionalDiscriminator,
        ConditionalSequential,
        join_labels,
        label_dim,
        require_labels,
    )
    from ganforge.layers.equalized import EqualizedConv2d, EqualizedLinear
    from ganforge.layers.growing import Growth, ProgressiveGenerator, ProgressiveNetwork
    from ganforge.layers.mapping import MappingNetwork
    from ganforge.layers.minibatch import (
        MinibatchDeviation,
        MinibatchDiscrimination,
        MinibatchStatistics,
        make_minibatch_statistics,
    )
    from ganforge.layers.modulated import ModulatedConv2d
    from ganforge.layers.noise import NOISE_MODES, NoiseInjection, layer_noise
    from ganforge.layers.pixel_norm import PixelNorm
    from ganforge.layers.resample import BilinearDownsample, BilinearUpsample, Blur, RepeatPixels
    from ganforge.logger import Logger
    from ganforge.sampling import generate
    from ganforge.schedules import Schedule

__all__ = [
    "API_VERSION",
    "NOISE_MODES",
    "AdaIN",
    "Augmentation",
    "BilinearDownsample",
    "BilinearUpsample",
    "Blur",
    "CheckpointError",
    "ClassifierDiscriminator",
    "ConditionalBatchNorm2d",
    "ConditionalDiscriminator",
    "ConditionalSequential",
    "DataError",
    "DataSpec",
    "Dataset",
    "Discriminator",
    "EqualizedConv2d",
    "EqualizedLinear",
    "ExportReport",
    "Exporter",
    "Extractor",
    "FeatureDiscriminator",
    "GanforgeError",
    "Generator",
    "Growing",
    "Growth",
    "Logger",
    "Loss",
    "MappingNetwork",
    "MinibatchDeviation",
    "MinibatchDiscrimination",
    "MinibatchStatistics",
    "ModulatedConv2d",
    "NoiseInjection",
    "OptionError",
    "Pair",
    "Paired",
    "PixelNorm",
    "PluginError",
    "ProgressiveGenerator",
    "ProgressiveNetwork",
    "Recipe",
    "Recomputable",
    "Regularizer",
    "RepeatPixels",
    "Run",
    "Schedule",
    "Step",
    "StyleGenerator",
    "__version__",
    "cache_folder",
    "generate",
    "hookimpl",
    "join_labels",
    "label_dim",
    "layer_noise",
    "load",
    "make_minibatch_statistics",
    "nearest",
    "open_picture",
    "open_run",
    "open_source",
    "picture_shape",
    "require_labels",
    "save_generator",
    "train",
]

_HOMES = {
    "capabilities": ("Growing", "Recomputable", "StyleGenerator"),
    "errors": ("CheckpointError", "DataError", "GanforgeError", "OptionError", "PluginError", "nearest"),
    "exporter": ("ExportReport", "Exporter"),
    "extractor": ("Extractor",),
    "hookspecs": ("hookimpl",),
    "logger": ("Logger",),
    "interfaces": (
        "Augmentation",
        "ClassifierDiscriminator",
        "DataSpec",
        "Dataset",
        "Discriminator",
        "FeatureDiscriminator",
        "Generator",
        "Loss",
        "Pair",
        "Paired",
        "Recipe",
        "Regularizer",
        "Step",
    ),
    "layers.minibatch": (
        "MinibatchDeviation",
        "MinibatchDiscrimination",
        "MinibatchStatistics",
        "make_minibatch_statistics",
    ),
    "layers.conditioning": (
        "ConditionalBatchNorm2d",
        "ConditionalDiscriminator",
        "ConditionalSequential",
        "join_labels",
        "label_dim",
        "require_labels",
    ),
    "layers.adain": ("AdaIN",),
    "layers.equalized": ("EqualizedConv2d", "EqualizedLinear"),
    "layers.growing": ("Growth", "ProgressiveGenerator", "ProgressiveNetwork"),
    "layers.mapping": ("MappingNetwork",),
    "layers.modulated": ("ModulatedConv2d",),
    "layers.noise": ("NOISE_MODES", "NoiseInjection", "layer_noise"),
    "layers.pixel_norm": ("PixelNorm",),
    "layers.resample": ("BilinearDownsample", "BilinearUpsample", "Blur", "RepeatPixels"),
    "api": ("Run", "load", "open_run", "train"),
    "checkpoint": ("save_generator",),
    "data.cache": ("cache_folder",),
    "data.decode": ("open_picture", "picture_shape"),
    "data.sources": ("open_source",),
    "sampling": ("generate",),
    "schedules": ("Schedule",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"ganforge.{module}"), name)
    raise AttributeError(f"module 'ganforge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
