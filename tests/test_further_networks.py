"""Further generators and discriminators of a recipe: two translators that undo each other, and a judge of each side."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss, softplus

import ganforge
from ganforge import Dataset, DataSpec, Discriminator, Generator, OptionError, Paired, Regularizer
from ganforge.config.schema import resolve
from ganforge.contract.errors import CheckpointError
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.session.terminal import open_terminal
from ganforge.session.trainer import Trainer
from ganforge.training.state import build_state

CPU = torch.device("cpu")


class Opposites(Dataset):
    """Bright 4 x 4 pictures, whose sources are dark and have three channels."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        source = torch.Generator().manual_seed(index)
        image, dark = (torch.randint(low, low + 100, (4, 4, 3), generator=source) for low in (150, 0))
        return Paired(image[..., :1].to(torch.uint8), dark.to(torch.uint8))

    def cache_key(self):
        return "opposites"


class Translator(Generator):
    def __init__(self, data, *, frozen: bool = False):
        super().__init__()
        self.z_dim = 1
        self.layer = nn.Conv2d(data.source_shape[0], data.shape[0], 1)
        self.keep = nn.Conv2d(data.shape[0], data.shape[0], 1).requires_grad_(not frozen)
        self.norm = nn.BatchNorm2d(data.shape[0])

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        assert labels is not None
        return torch.tanh(self.norm(self.keep(self.layer(labels))))


class Judge(Discriminator):
    def __init__(self, data):
        super().__init__()
        self.layer = nn.Linear(data.shape[0] * 16, 1)

    def forward(self, images, labels=None):
        return self.layer(images.flatten(1)).squeeze(1)


class Cycle(Regularizer):
    """The objective of sources, and what both translators make of each other's images."""

    def discriminator(self, step):
        with torch.no_grad():
            fake = step.compute(step.networks["back"], step.latents, step.images.real)
        judge = step.networks["judge"]
        return softplus(step.compute(judge, fake)).mean() + softplus(-step.compute(judge, step.labels)).mean()

    def generator(self, step):
        back, z = step.networks["back"], step.latents
        fake = step.compute(back, z, step.images.real)
        there = mse_loss(step.compute(step.generator, z, fake), step.images.real)
        again = mse_loss(step.compute(back, z, step.images.fake), step.labels)
        return there + again + softplus(-step.compute(step.networks["judge"], fake)).mean()


TREE = {
    "data": {"source": "opposites"},
    "generator": {"name": "translator", "frozen": True},
    "discriminator": {"name": "judge"},
    "loss": {"name": "nonsat"},
    "networks": {
        "back": {"player": "generator", "name": "translator", "data": "sources", "frozen": True},
        "judge": {"player": "discriminator", "name": "judge", "data": "sources"},
    },
    "regularizers": {"cycle": {}},
    "training": {"batch": 8, "samples": 4, "tick_images": 40, "device": "cpu", "engine": "eager", "threads": 1}
    | {"precision": "float32", "layout": "contiguous", "ema_images": 20},
}


@pytest.fixture
def registry():
    parts = {
        "dataset": {"opposites": Opposites},
        "generator": {"translator": Translator},
        "discriminator": {"judge": Judge},
        "regularizer": {"cycle": Cycle},
    }
    return Registry([*Registry.installed().plugins, Plugin("both-ways", "both-ways", "1", "ok", parts=parts)])


def make(registry, **more):
    config = resolve(registry, TREE, *([more] if more else []))
    return build_state(config, registry, DataSpec((1, 4, 4), source_shape=(3, 4, 4)), CPU)


def train(registry, images, folder=None):
    """Train a new run, or resume one."""
    config = resolve(registry, TREE, {"training": {"images": images}})
    with open_terminal(True, {}) as terminal:
        trainer = Trainer(config, registry, CPU, terminal)
        return (trainer.resume(folder) if folder else trainer.start(Path("runs"))).folder


def test_a_network_of_sources_gets_the_data_the_other_way_round_and_its_player_trains_it(registry):
    state = make(registry)
    assert (state.others["back"].layer.in_channels, state.others["back"].layer.out_channels) == (1, 3)
    assert state.others["judge"].layer.in_features == 3 * 16
    owners = {player: {name.split("/")[0] for name in of} for player, of in state.trained.items()}
    assert owners == {
        "generator": {"generator_optimizer", "network.back_optimizer"},
        "discriminator": {"discriminator_optimizer", "network.judge_optimizer"},
    }
    assert list(state.averages) == ["back"]
    assert "network.back/keep.weight" in state.frozen


def test_a_run_goes_on_bit_for_bit_and_every_generator_draws(registry, here):
    once, again = train(registry, 80), train(registry, 40)
    train(registry, 80, again)
    first, second = (read_tensors(folder.checkpoint_path(80))[0] for folder in (once, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["network.back/layer.weight"], first["average.back/layer.weight"])

    back, card = load_generator(again.generator_path("back"), registry)
    assert card["data"]["shape"] == [3, 4, 4]
    assert torch.equal(back.layer.weight, second["average.back/layer.weight"])
    assert torch.equal(back.keep.weight, second["network.back/keep.weight"])
    images = ganforge.generate(back, 2, labels=torch.zeros(2, 1, 4, 4))
    assert images.shape == (2, 3, 4, 4)
    with pytest.raises(OptionError, match=r"--network bak: .* has no such generator"):
        again.find_generator("bak")
    assert again.find_generator("back") == again.generator_path("back")


def test_a_link_in_place_of_a_further_generator_is_refused(registry, here):
    folder = train(registry, 8)
    path = folder.generator_path("back")
    path.rename(here / "elsewhere")
    path.symlink_to(here / "elsewhere")
    with pytest.raises(CheckpointError, match=r"generator-back\.safetensors"):
        RunFolder(folder.path)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"more": {"name": "judge"}}, "networks.more has no player"),
        ({"more": {"player": "generator"}}, "networks.more has no name"),
        ({"more": {"player": "critic", "name": "judge"}}, "networks.more.player"),
        ({"more": {"player": "generator", "name": "translatr"}}, "translatr"),
        ({"more": {"player": "discriminator", "name": "judge", "width": 3}}, "width"),
        ({"best": {"player": "discriminator", "name": "judge"}}, "networks.best: generator-best.safetensors"),
        ({"../up": {"player": "discriminator", "name": "judge"}}, "lower-case letters, digits and hyphens"),
        ({"Best": {"player": "discriminator", "name": "judge"}}, "lower-case letters, digits and hyphens"),
    ],
)
def test_a_network_that_is_none_is_told(registry, settings, told):
    with pytest.raises(OptionError, match=told):
        resolve(registry, TREE, {"networks": settings})


def test_a_further_network_that_does_not_fit_is_named(registry):
    class Small(Judge):
        def forward(self, images, labels=None):
            return super().forward(images)[:3]

    plugin = Plugin("small", "small", "1", "ok", parts={"discriminator": {"small": Small}})
    wider = Registry([*registry.plugins, plugin])
    with pytest.raises(OptionError, match=r"network 'judge' \(discriminator 'small'\) returns \(3,\) for 8 examples"):
        make(wider, networks={"judge": {"player": "discriminator", "name": "small", "data": "sources"}})


def test_a_network_of_sources_needs_data_with_sources(registry):
    with pytest.raises(OptionError, match=r"networks.back.data is sources, but the data have none"):
        build_state(resolve(registry, TREE, {"generator": {"name": "mlp"}}), registry, DataSpec((1, 4, 4)), CPU)
