"""Built-in extractors."""

from __future__ import annotations

from ganforge import Extractor, hookimpl
from ganforge.evaluation.extractors.classifier import ClassifierExtractor
from ganforge.evaluation.extractors.clip import ClipExtractor
from ganforge.evaluation.extractors.dinov2 import DinoV2Extractor
from ganforge.evaluation.extractors.inception import InceptionExtractor
from ganforge.evaluation.extractors.random import RandomExtractor
from ganforge.evaluation.extractors.torchvision import TorchvisionExtractor
from ganforge.evaluation.extractors.user import TorchScriptExtractor


@hookimpl
def ganforge_extractors() -> dict[str, type[Extractor]]:
    return {
        "inception": InceptionExtractor,
        "classifier": ClassifierExtractor,
        "dinov2": DinoV2Extractor,
        "clip": ClipExtractor,
        "torchvision": TorchvisionExtractor,
        "torchscript": TorchScriptExtractor,
        "random": RandomExtractor,
    }
