"""What the author of a plugin implements.

Everything here is public. A class's keyword-only constructor arguments are its options: their names, annotations and
defaults are what ``--set generator.width=96``, a TOML file and ``ganforge plugins info`` speak. Sizes that the data
dictate arrive apart from them, as a `DataSpec`.
"""

from ganforge.interfaces.data import Dataset, DataSpec, Paired
from ganforge.interfaces.networks import ClassifierDiscriminator, Discriminator, FeatureDiscriminator, Generator
from ganforge.interfaces.parts import Augmentation, Loss, Recipe, Regularizer
from ganforge.interfaces.step import Pair, Step

__all__ = [
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
]
