"""Frozen tensors stay as they are, cost no step anything, and are stored once per run."""

import copy
import json

import pytest
import torch
from torch import nn

import ganforge
from ganforge import CheckpointError, Discriminator, Generator, PluginError, Regularizer
from ganforge.config.schema import resolve
from ganforge.data.store import PackedData
from ganforge.evaluation.subjects.participation import took_part
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_card, read_tensors, save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.ema import update_ema
from ganforge.training.execution.buffers import BufferSnapshot
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step
from ganforge.training.transfer import init_from

CPU = torch.device("cpu")
LARGE = 100_000


class Pretrained(nn.Module):
    """A network in evaluation mode: a frozen layer, batch statistics, and weights as a buffer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("table", torch.randn(LARGE))
        self.eval().requires_grad_(False)

    def forward(self, x):
        return self.norm(self.layer(x)) + self.table[:2]


class FrozenGenerator(Generator):
    z_dim = 2

    def __init__(self, data):
        super().__init__()
        self.pretrained = Pretrained()
        self.last = nn.Linear(2, 2)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.last(self.pretrained(z))


class FrozenDiscriminator(Discriminator):
    def __init__(self, data):
        super().__init__()
        self.pretrained = Pretrained()
        self.batches = nn.BatchNorm1d(2)
        self.weights = nn.Parameter(torch.randn(LARGE), requires_grad=False)
        self.last = nn.Linear(2, 1)

    def forward(self, images, labels=None):
        return self.last(self.batches(self.pretrained(images)) * self.weights[:2]).squeeze(1)


class Touching(FrozenDiscriminator):
    def forward(self, images, labels=None):
        with torch.no_grad():
            self.pretrained.table[0] += 1
        return super().forward(images, labels)


class Late(FrozenDiscriminator):
    def forward(self, images, labels=None):
        if torch.is_grad_enabled() and self.training and not hasattr(self, "seen"):
            self.register_buffer("seen", torch.zeros(3))
        return super().forward(images, labels)


class Matching(Regularizer):
    """Matches features of a frozen network of its own."""

    def __init__(self):
        super().__init__()
        self.network = Pretrained()

    def generator(self, step):
        return (self.network(step.images.fake).mean(0) - self.network(step.images.real).mean(0)).square().sum()


PARTS = {
    "generator": {"frozen": FrozenGenerator},
    "discriminator": {"frozen": FrozenDiscriminator, "touching": Touching, "late": Late},
    "regularizer": {"matching": Matching},
}


@pytest.fixture(scope="module")
def registry():
    mine = Plugin("mine", "mine", "1", "ok", parts=PARTS)
    return Registry([*Registry.installed().plugins, mine])


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(7)
    return PackedData("test", torch.randn(40, 2), None, (), "abc")


def build(registry, data, discriminator="frozen", images=40, **sections):
    tree = {
        "recipe": "mlp",
        "generator": {"name": "frozen"},
        "discriminator": {"name": discriminator},
        "regularizers": {"matching": {}},
        "training": {"batch": 4, "images": images, "tick_images": 20, "ema_images": 20},
        **sections,
    }
    config = resolve(registry, tree)
    return config, build_state(config, registry, data.spec, CPU)


class Silent:
    def step(self, *_):
        pass

    tick = note = score = step


def train(registry, data, folder, resume=False, **settings):
    config, state = build(registry, data, **settings)
    record = open_recorder(config, registry, data, folder, state)
    if resume:
        recovery.resume(record, CPU)
    loop.train(state, Batches(data, config.training.seed, CPU), record, config, Silent(), EAGER)
    return state


@pytest.fixture(scope="module")
def trained(registry, data, tmp_path_factory):
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "whole")
    return folder, train(registry, data, folder)


def test_what_is_frozen_stays_as_it_was_in_all_networks_and_the_rest_is_trained(registry, data, trained):
    _, state = trained
    _, fresh = build(registry, data)
    before, after = fresh.tensors(), state.tensors()
    frozen = set(state.frozen) | {each.replace("generator/", "average/", 1) for each in state.frozen}
    assert {
        "generator/pretrained.layer.weight",
        "discriminator/weights",
        "regularizer.matching/network.table",
    } <= frozen
    assert "generator/pretrained.norm.running_mean" in frozen
    assert "discriminator/batches.running_mean" not in frozen
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (name in frozen), name
    assert not any("pretrained" in name or "weights" in name for name in after if "optimizer/" in name)
    assert not state.discriminator.pretrained.norm.training
    assert state.discriminator.batches.training


def test_a_step_copies_no_constant(registry, data):
    _, state = build(registry, data)
    kept = BufferSnapshot.of(module for name, module in state.modules().items() if name != "average")
    assert sum(old.numel() for *_, old in kept.entries) < 100
    average = copy.deepcopy(state.generator)
    with torch.no_grad():
        state.generator.pretrained.table.zero_()  # an artificial change, which shows that the EMA does not read it
    update_ema(average, state.generator, images=4, shown=4, half_life=0)
    assert average.pretrained.table.count_nonzero() == LARGE


def test_frozen_tensors_are_stored_once_per_run(trained):
    folder, state = trained
    (kept,) = folder.checkpoints.glob("frozen-*.safetensors")
    tensors, _ = read_tensors(kept)
    assert tensors.keys() == state.frozen
    paths = folder.checkpoint_paths()
    assert len(paths) == 2
    assert all(path.stat().st_size < 40_000 < 4 * LARGE < kept.stat().st_size for path in paths)
    whole, card = read_tensors(paths[-1])
    assert card["frozen"] == read_card(kept)["digest"]
    assert whole.keys() >= state.tensors().keys()
    assert all(torch.equal(whole[name], value) for name, value in state.tensors().items())


def test_a_saved_generator_holds_its_frozen_layers(trained):
    folder, state = trained
    weights, _ = read_tensors(folder.generator)
    assert weights.keys() == state.ema.state_dict().keys()


def test_a_run_with_frozen_parts_goes_on_bit_for_bit_and_begins_others(registry, data, trained, tmp_path):
    whole, _ = trained
    broken = RunFolder.create(tmp_path, "broken")
    train(registry, data, broken, images=20)
    train(registry, data, broken, resume=True)
    ours, theirs = (read_tensors(each.checkpoint_path(40))[0] for each in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    _, other = build(registry, data, training={"batch": 4, "seed": 5})
    init_from(other, whole.checkpoint_path(40), *read_tensors(whole.checkpoint_path(40)))
    assert torch.equal(other.discriminator.weights, theirs["discriminator/weights"])
    assert torch.equal(other.ema.pretrained.table, theirs["generator/pretrained.table"])


def test_a_run_without_its_frozen_tensors_cannot_be_resumed(registry, data, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    train(registry, data, folder, images=4)
    (kept,) = folder.checkpoints.glob("frozen-*.safetensors")
    content = bytearray(kept.read_bytes())
    content[-5] ^= 1
    kept.write_bytes(content)
    with pytest.raises(CheckpointError, match="frozen-.*does not match its digest"):
        train(registry, data, folder, resume=True)
    kept.unlink()
    with pytest.raises(CheckpointError, match="frozen-.*not found; it holds the frozen tensors of"):
        train(registry, data, folder, resume=True)


def test_a_card_leads_to_no_file_but_its_own_frozen_tensors(trained, tmp_path):
    folder, _ = trained
    _, card = read_tensors(folder.checkpoint_path(40))
    for digest in ("../../x", "a" * 63, 7, None):
        path = tmp_path / "000000040.safetensors"
        save_tensors(path, {"x": torch.zeros(1)}, {**card, "frozen": digest})
        with pytest.raises(CheckpointError, match="digest of its frozen tensors is invalid"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("discriminator", "message"),
    [
        ("touching", "tensor 'pretrained.table' of discriminator 'touching' changed, although it was frozen"),
        ("late", "tensor 'seen' of discriminator 'late' was added after the module was built"),
    ],
)
def test_what_a_checkpoint_would_not_hold_is_refused(registry, data, tmp_path, discriminator, message):
    folder = RunFolder.create(tmp_path, "x")
    with pytest.raises(PluginError, match=message):
        train(registry, data, folder, discriminator=discriminator, images=4)
    assert [path.stem for path in folder.checkpoint_paths()] == ["000000000"]


def test_clipping_leaves_frozen_weights_alone(registry, data):
    _, state = build(registry, data, regularizers={"clip": {"bound": 0.001}, "historical-averaging": {}})
    before = state.discriminator.weights.clone()
    take_step(state, [read_batch(state, Batches(data, 0, CPU), EAGER, 0, 4)], 0)
    assert torch.equal(state.discriminator.weights, before)
    assert state.discriminator.last.weight.abs().max() <= 0.001
    assert state.penalties[1].regularizer.discriminator_mean.numel() < 100


class AllFrozen(FrozenDiscriminator):
    def __init__(self, data):
        super().__init__(data)
        self.requires_grad_(False)


def test_a_player_with_nothing_to_train_is_refused(data):
    mine = Plugin("mine", "mine", "1", "ok", parts={**PARTS, "discriminator": {"idle": AllFrozen}})
    with pytest.raises(PluginError, match="discriminator 'idle' has no trainable parameters"):
        build(Registry([*Registry.installed().plugins, mine]), data, "idle")


def test_a_run_without_frozen_parts_has_no_file_of_them(data, tmp_path):
    registry = Registry.installed()
    config = resolve(registry, {"recipe": "mlp", "training": {"batch": 4, "images": 4}})
    folder = RunFolder.create(tmp_path, "x")
    state = build_state(config, registry, data.spec, CPU)
    record = open_recorder(config, registry, data, folder, state)
    loop.train(state, Batches(data, 0, CPU), record, config, Silent(), EAGER)
    assert len(list(folder.checkpoints.iterdir())) == 2
    assert "frozen" not in read_card(folder.checkpoint_path(4))
    assert ganforge.load(folder.path) is not None
    assert json.loads(folder.metrics.read_text().splitlines()[0])["images"] == 4


def test_an_extractor_whose_weights_are_frozen_in_a_run_is_detected(tmp_path):
    network, other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)), nn.Conv2d(3, 8, 3)
    run = tmp_path / "run"
    save_tensors(run / "checkpoints" / f"frozen-{'0' * 64}.safetensors", {"d/w": network[0].weight}, {})
    assert took_part(run, network)
    assert took_part(run / "export", network)
    assert not took_part(run, other)
    assert not took_part(tmp_path / "x", network)
