"""Optimizers are parts: options, players of their own, warm-up, clipping, skipped steps, exact resume."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch

from ganforge import Optimizer, OptionError, PluginError, Schedule, hookimpl
from ganforge.builtin.optimizers import Adam, AdamW, RMSprop
from ganforge.config.schema import resolve
from ganforge.core.accelerator import BACKENDS
from ganforge.data.store import PackedData
from ganforge.plugins.loading import Plugin, collect_parts
from ganforge.plugins.registry import Registry
from ganforge.testing import check_optimizer
from ganforge.training.execution.cuda_graphs import graph_key
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.optimizers import step_optimizer
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step

CPU = torch.device("cpu")
SMALL = {
    "recipe": "mlp",
    "generator": {"hidden": 8},
    "discriminator": {"hidden": 8},
    "training": {"batch": 8, "device": "cpu"},
}


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(7)
    return PackedData("test", torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8), None, (), "abc")


def resolve_optimizer(registry, *sections):
    return resolve(registry, *[{"optimizer": each} for each in sections])


@pytest.mark.parametrize("part", [Adam, AdamW, RMSprop])
def test_built_in_optimizers_keep_the_contract(part):
    check_optimizer(part)


class Ignoring(Optimizer):
    """Does not read the learning rate of its group."""

    def build(self, parameters, lr):
        return Descent(parameters, {"lr": lr}, 0.1)


class Descent(torch.optim.Optimizer):
    def __init__(self, parameters, defaults, rate=None, counted=False):
        super().__init__(parameters, defaults)
        self.rate, self.counted, self.steps = rate, counted, 0

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for parameter in self.param_groups[0]["params"]:
            if self.counted:
                self.state[parameter]["steps"] = self.steps
            rate = self.param_groups[0]["lr"] if self.rate is None else self.rate
            parameter -= rate * parameter.grad / self.steps


class Remembering(Optimizer):
    """Keeps the number of its steps outside of its state."""

    def build(self, parameters, lr):
        return Descent(parameters, {"lr": lr})


class Counting(Optimizer):
    """Keeps the number of its steps as an integer."""

    def build(self, parameters, lr):
        return Descent(parameters, {"lr": lr}, counted=True)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Ignoring, "at a learning rate of 0"),
        (Remembering, "a resumed run differs"),
        (Counting, "keeps 'steps' as int"),
    ],
)
def test_an_optimizer_that_breaks_the_contract_is_told_in_a_sentence(part, said):
    with pytest.raises(AssertionError, match=said):
        check_optimizer(part)


def test_a_section_of_version_1_means_adam(registry):
    config = resolve_optimizer(registry, {"generator_lr": 1e-3, "discriminator_lr": "linear:1e-3:0:1k", "beta1": 0.0})
    generator, discriminator = config.optimizer["generator"], config.optimizer["discriminator"]
    assert (generator.name, generator.lr_at(0), discriminator.lr_at(500)) == ("adam", 1e-3, 5e-4)
    assert generator.part.group(0) == {"betas": (0.0, 0.999)}


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"name": "adamw", "weight_decay": 0.1, "warmup": 1000, "clip": 1.5},
        {"generator": {"beta1": 0.0}, "discriminator": {"clip": 2}},
        {"generator": {"name": "rmsprop"}, "beta1": 0.3},
        {"name": "rmsprop", "decay": 0.5, "generator": {"name": "adam", "beta2": "cosine:0.9:0.99:1k"}},
    ],
)
def test_a_resolved_section_resolves_to_the_same(registry, section):
    config = resolve_optimizer(registry, section)
    assert resolve(registry, json.loads(json.dumps(config.tree()))) == config


def test_a_players_table_changes_that_player_alone(registry):
    config = resolve_optimizer(registry, {"beta1": 0.3}, {"generator": {"name": "rmsprop", "clip": 1}})
    assert [(each.name, each.clip) for each in config.optimizer.values()] == [("rmsprop", 1.0), ("adam", None)]
    assert config.optimizer["discriminator"].options["beta1"].at(0) == 0.3


def test_another_optimizer_keeps_rates_but_not_options(registry):
    config = resolve_optimizer(registry, {"generator_lr": 1e-5, "beta1": 0.0}, {"name": "rmsprop"})
    assert config.optimizer["generator"].lr_at(0) == 1e-5
    assert dict(config.optimizer["generator"].options) == {"decay": 0.99}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "adm"}, "unknown optimizer 'adm'.*'adam'"),
        ({"generator_rl": 1}, "optimizer has no setting 'generator_rl'.*'generator_lr'"),
        ({"generator": {"lr": 1}}, "optimizer.generator has no setting 'lr'"),
        ({"generator": 3}, "optimizer.generator must be a table, not 3"),
        ({"discriminator": {"name": "rmsprop", "decay": 2}}, "optimizer 'rmsprop': decay=2 must be"),
        ({"clip": 0}, "optimizer.clip: 0 is too small"),
        ({"warmup": -1}, "optimizer.warmup: -1 is too small"),
    ],
)
def test_a_mistake_is_found_before_the_data_are_read(registry, section, said):
    with pytest.raises(OptionError, match=said):
        resolve_optimizer(registry, section)


def test_warm_up_rises_from_zero_to_the_schedule(registry):
    optimizer = resolve_optimizer(registry, {"warmup": 100, "generator_lr": "linear:1e-3:0:1k"}).optimizer["generator"]
    assert [optimizer.lr_at(each) for each in (0, 50, 100)] == pytest.approx([0, 0.475e-3, 0.9e-3])


def step_with(registry, images, section, poison=False, count=1):
    config = resolve(registry, SMALL, {"optimizer": section})
    state = build_state(config, registry, images.spec, CPU)
    rows = []
    for index in range(count):
        state.apply_schedules(config.optimizer)
        batch = read_batch(state, Batches(images, 0, CPU), EAGER, 0, 8)
        if poison and index == count - 1:
            batch = dataclasses.replace(batch, real=batch.real * torch.nan)
        rows = take_step(state, [batch], index)
    return state, rows


def test_clipping_limits_the_gradient_of_its_player(registry, images):
    parts = collect_parts(strange(lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)))
    registry = Registry([*registry.plugins, Plugin("strange", "strange", "", "ok", parts=parts)])
    section = {"generator_lr": 1, "discriminator_lr": 1, "name": "strange"}
    before, _ = step_with(registry, images, {**section, "generator_lr": 0, "discriminator_lr": 0})
    for clip, close in ((1e-3, 1e-3), (1e3, None)):
        after, rows = step_with(registry, images, {**section, "discriminator": {"clip": clip}})
        moved = torch.cat(
            [
                (new - old).flatten()
                for new, old in zip(after.discriminator.parameters(), before.discriminator.parameters(), strict=True)
            ]
        )
        norm = rows[0]["gradient/discriminator"].item()
        assert norm > 1e-2  # the logged norm is that before clipping
        assert moved.norm().item() == pytest.approx(close or norm, rel=1e-3)


def strange(build):
    class Strange(Optimizer):
        """Any optimizer."""

        def build(self, parameters, lr):
            return build(parameters, lr)

    return SimpleNamespace(ganforge_optimizers=hookimpl(lambda: {"strange": Strange}))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda parameters, lr: torch.optim.LBFGS(parameters, lr=lr), "optimizer 'strange' of plugin.* failed"),
        (lambda parameters, lr: None, "optimizer 'strange' built a NoneType"),
    ],
)
def test_an_optimizer_that_fails_is_named(registry, images, build, said):
    plugin = Plugin("strange", "strange", "", "ok", parts=collect_parts(strange(build)))
    with pytest.raises(PluginError, match=said):
        step_with(Registry([*registry.plugins, plugin]), images, {"name": "strange"})


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_step_that_is_not_finite_changes_nothing(registry, images, monkeypatch, name, graphs, count):
    monkeypatch.setitem(BACKENDS, "cpu", dataclasses.replace(BACKENDS["cpu"], graphs=graphs))
    state, rows = step_with(registry, images, {"name": name}, poison=True, count=count)
    assert rows[0]["skipped/discriminator"] == 1
    healthy, _ = step_with(registry, images, {"name": name}, count=count - 1)
    for tensors in ("discriminator/", "discriminator_optimizer/"):
        found, wanted = (
            {key: each for key, each in every.tensors().items() if key.startswith(tensors)}
            for every in (state, healthy)
        )
        assert all(torch.equal(found[key], each) for key, each in wanted.items())
        assert all(each.isfinite().all() for each in found.values())


def test_a_skipped_step_of_a_captured_optimizer_does_not_wait(monkeypatch):
    monkeypatch.setitem(BACKENDS, "cpu", dataclasses.replace(BACKENDS["cpu"], graphs=True))
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = RMSprop().build([parameter], torch.tensor(0.1))
    parameter.grad = torch.ones(3)
    step_optimizer(optimizer, [parameter], torch.zeros(()))
    for flag in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "__bool__", lambda _: pytest.fail("it waits for the device"))
            before = parameter.detach().clone()
            step_optimizer(optimizer, [parameter], torch.tensor(float(flag)))
        assert torch.equal(parameter, before) is flag


def test_a_scheduled_option_is_part_of_the_key_of_a_graph(registry, images):
    config = resolve(registry, SMALL, {"optimizer": {"beta2": "linear:0.9:0.99:1k", "generator_lr": "linear:1:0:1k"}})
    state = build_state(config, registry, images.spec, CPU)
    keys = []
    for state.images in (0, 500):
        state.apply_schedules(config.optimizer)
        keys.append(graph_key(state, [], 0))
    assert keys[0] != keys[1]
    assert hash(keys[0]) is not None


@pytest.mark.slow
def test_runs_resume_exactly_with_an_optimizer_for_each_player(run, here, image_folder):
    options = ["--data", image_folder, "--arch", "mlp", "--device", "cpu", "--engine", "eager", "--batch", "16"]
    for setting in (
        "optimizer.name=adamw", "optimizer.warmup=64", "optimizer.discriminator.name=rmsprop",
        "optimizer.discriminator.clip=0.5", "training.threads=1", "training.samples=4",
        "training.precision=float32", "training.layout=contiguous",
    ):  # fmt: skip
        options += ["--set", setting]
    assert run("train", *options, "--images", "64", "--out", "whole")[0] == 0
    assert run("train", *options, "--images", "32", "--out", "parts")[0] == 0
    code, _, err = run("train", "--resume", "--out", "parts", "--images", "64")
    assert code == 0, err
    whole, parts = (next((here / each).glob("*/checkpoints/000000064.safetensors")) for each in ("whole", "parts"))
    from ganforge.runs.checkpoint import read_tensors

    first, second = read_tensors(whole)[0], read_tensors(parts)[0]
    assert any(key.startswith("discriminator_optimizer/") and key.endswith("square_avg") for key in first)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first if not key.startswith("statistics/"))


def test_schedules_of_options_are_shown_as_users_write_them(run):
    code, out, _ = run("plugins", "info", "adam")
    assert code == 0
    assert "beta1: Schedule = 0.5" in out
    assert Adam(beta1=Schedule.constant(0.0)).group(0)["betas"][0] == 0
