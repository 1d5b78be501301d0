"""ganforge: train, explore, evaluate and export generative adversarial networks.

Every public name is loaded on first use, so that ``import ganforge`` and ``ganforge --help`` stay quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganforge.moved import MovedModules
from ganforge.version import API_VERSION as API_VERSION
from ganforge.version import __version__ as __version__

if TYPE_CHECKING:
    from ganforge.contract.capabilities import Growing as Growing
    from ganforge.contract.capabilities import Recomputable as Recomputable
    from ganforge.contract.capabilities import StyleGenerator as StyleGenerator
    from ganforge.contract.data import Dataset as Dataset
    from ganforge.contract.data import DataSpec as DataSpec
    from ganforge.contract.data import Paired as Paired
    from ganforge.contract.errors import CheckpointError as CheckpointError
    from ganforge.contract.errors import DataError as DataError
    from ganforge.contract.errors import GanforgeError as GanforgeError
    from ganforge.contract.errors import OptionError as OptionError
    from ganforge.contract.errors import PluginError as PluginError
    from ganforge.contract.errors import nearest as nearest
    from ganforge.contract.exporter import Exporter as Exporter
    from ganforge.contract.exporter import ExportReport as ExportReport
    from ganforge.contract.extractor import Extractor as Extractor
    from ganforge.contract.hookspecs import hookimpl as hookimpl
    from ganforge.contract.logger import Logger as Logger
    from ganforge.contract.networks import ClassifierDiscriminator as ClassifierDiscriminator
    from ganforge.contract.networks import Discriminator as Discriminator
    from ganforge.contract.networks import FeatureDiscriminator as FeatureDiscriminator
    from ganforge.contract.networks import Generator as Generator
    from ganforge.contract.parts import Augmentation as Augmentation
    from ganforge.contract.parts import Loss as Loss
    from ganforge.contract.parts import Recipe as Recipe
    from ganforge.contract.parts import Regularizer as Regularizer
    from ganforge.contract.schedules import Schedule as Schedule
    from ganforge.contract.step import Pair as Pair
    from ganforge.contract.step import Step as Step
    from ganforge.core.cache import cache_folder as cache_folder
    from ganforge.data.decode import open_picture as open_picture
    from ganforge.data.decode import picture_shape as picture_shape
    from ganforge.data.sources import open_source as open_source
    from ganforge.layers.adain import AdaIN as AdaIN
    from ganforge.layers.conditioning import ConditionalBatchNorm2d as ConditionalBatchNorm2d
    from ganforge.layers.conditioning import ConditionalDiscriminator as ConditionalDiscriminator
    from ganforge.layers.conditioning import ConditionalSequential as ConditionalSequential
    from ganforge.layers.conditioning import join_labels as join_labels
    from ganforge.layers.conditioning import label_dim as label_dim
    from ganforge.layers.conditioning import require_labels as require_labels
    from ganforge.layers.equalized import EqualizedConv2d as EqualizedConv2d
    from ganforge.layers.equalized import EqualizedLinear as EqualizedLinear
    from ganforge.layers.growing import Growth as Growth
    from ganforge.layers.growing import ProgressiveGenerator as ProgressiveGenerator
    from ganforge.layers.growing import ProgressiveNetwork as ProgressiveNetwork
    from ganforge.layers.mapping import MappingNetwork as MappingNetwork
    from ganforge.layers.minibatch import MinibatchDeviation as MinibatchDeviation
    from ganforge.layers.minibatch import MinibatchDiscrimination as MinibatchDiscrimination
    from ganforge.layers.minibatch import MinibatchStatistics as MinibatchStatistics
    from ganforge.layers.minibatch import make_minibatch_statistics as make_minibatch_statistics
    from ganforge.layers.modulated import ModulatedConv2d as ModulatedConv2d
    from ganforge.layers.noise import NOISE_MODES as NOISE_MODES
    from ganforge.layers.noise import NoiseInjection as NoiseInjection
    from ganforge.layers.noise import layer_noise as layer_noise
    from ganforge.layers.pixel_norm import PixelNorm as PixelNorm
    from ganforge.layers.resample import BilinearDownsample as BilinearDownsample
    from ganforge.layers.resample import BilinearUpsample as BilinearUpsample
    from ganforge.layers.resample import Blur as Blur
    from ganforge.layers.resample import RepeatPixels as RepeatPixels
    from ganforge.runs.checkpoint import save_generator as save_generator
    from ganforge.sampling import generate as generate
    from ganforge.session.api import Run as Run
    from ganforge.session.api import load as load
    from ganforge.session.api import open_run as open_run
    from ganforge.session.api import train as train

_HOMES = {
    "contract.capabilities": "Growing Recomputable StyleGenerator",
    "contract.data": "DataSpec Dataset Paired",
    "contract.errors": "CheckpointError DataError GanforgeError OptionError PluginError nearest",
    "contract.exporter": "ExportReport Exporter",
    "contract.extractor": "Extractor",
    "contract.hookspecs": "hookimpl",
    "contract.logger": "Logger",
    "contract.networks": "ClassifierDiscriminator Discriminator FeatureDiscriminator Generator",
    "contract.parts": "Augmentation Loss Recipe Regularizer",
    "contract.schedules": "Schedule",
    "contract.step": "Pair Step",
    "core.cache": "cache_folder",
    "data.decode": "open_picture picture_shape",
    "data.sources": "open_source",
    "layers.adain": "AdaIN",
    "layers.conditioning": "ConditionalBatchNorm2d ConditionalDiscriminator ConditionalSequential "
    "join_labels label_dim require_labels",
    "layers.equalized": "EqualizedConv2d EqualizedLinear",
    "layers.growing": "Growth ProgressiveGenerator ProgressiveNetwork",
    "layers.mapping": "MappingNetwork",
    "layers.minibatch": "MinibatchDeviation MinibatchDiscrimination MinibatchStatistics make_minibatch_statistics",
    "layers.modulated": "ModulatedConv2d",
    "layers.noise": "NOISE_MODES NoiseInjection layer_noise",
    "layers.pixel_norm": "PixelNorm",
    "layers.resample": "BilinearDownsample BilinearUpsample Blur RepeatPixels",
    "runs.checkpoint": "save_generator",
    "sampling": "generate",
    "session.api": "Run load open_run train",
}
"""Public names by module."""

sys.meta_path.append(MovedModules())

_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["API_VERSION", "__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"ganforge.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ganforge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
