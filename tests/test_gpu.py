"""Tests that need CUDA; `.ci/gpu proof` runs them, and rehearses them on the CPU with GANFORGE_TEST_DEVICE=cpu."""

import copy
import dataclasses
import os

import pytest
import torch

import ganforge
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.core.accelerator import synchronize
from ganforge.core.seeding import seed_everything
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors.inception_network import Inception
from ganforge.export.inductor import InductorExporter
from ganforge.export.onnx import TOLERANCE
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.cuda_graphs import make_stepper
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.prefetch import DirectFeeder, PrefetchingFeeder, ResidentFeeder
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch

DEVICE = torch.device(os.environ.get("GANFORGE_TEST_DEVICE", "cuda"))

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="torch finds no CUDA device here"
    ),
]

DCGAN = {"recipe": "dcgan"}
SETTINGS = ["generator.width=8", "discriminator.width=8", "training.batch=16", "training.tick_images=64"]


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"))
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def data():
    torch.manual_seed(7)
    return PackedData("test", torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8), None, (), "abc")


def set_sync_mode(mode):
    """Let synchronizations with CUDA be errors, or not."""
    if DEVICE.type == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


class Watcher:
    def step(self, images, seconds):
        pass

    def tick(self, row):
        pass

    def note(self, text):
        pass


def run(data, folder, images, engine="eager", resume=False):
    registry = Registry.installed()
    config = resolve(
        registry, DCGAN, *load_layers(None, None, ["r1:every=3"], [*SETTINGS, f"training.images={images}"])
    )
    state = build_state(config, registry, data.spec, DEVICE)
    record = open_recorder(config, registry, data, folder, state)
    if resume:
        recovery.resume(record, DEVICE)
    plan = ExecutionPlan(engine=engine)
    loop.train(state, Batches(data, 0, DEVICE), record, config, Watcher(), Engine(plan, DEVICE))
    return state


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one(data, tmp_path, engine):
    whole, broken = (RunFolder.create(tmp_path, name) for name in ("whole", "broken"))
    run(data, whole, 256, engine)
    run(data, broken, 96, engine)
    run(data, broken, 256, engine, resume=True)
    ours, theirs = (read_tensors(folder.checkpoint_path(256))[0] for folder in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("statistics/"))


def test_what_was_trained_on_cuda_is_the_same_on_a_cpu(data, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    state = run(data, folder, 128)
    with torch.backends.cudnn.flags(allow_tf32=False):
        there = ganforge.generate(state.ema, 8)
    assert torch.allclose(there, ganforge.generate(ganforge.load(folder.path), 8), atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 64, 128, 128), (3, 40, 6, 10), (4, 512, 4, 4)])
def test_styles_by_kernels_are_those_of_a_cpu_in_float64(shape, dtype, layout):
    torch.manual_seed(7)
    size, channels, height, width = shape
    shapes = [shape, (channels, 1, 1), (size, 2 * channels), (size, 1, height, width), shape]
    given = [torch.randn(each).to(dtype) for each in shapes]
    given[0], given[4] = (each.contiguous(memory_format=layout) for each in (given[0], given[4]))
    found = []
    for device, number in (("cpu", torch.float64), (DEVICE, dtype)):
        x, strength, style, noise, gradient = (each.to(device, number) for each in given)
        wanted = [each.requires_grad_() for each in (x, strength, style)]
        result = ganforge.noisy_style(x, noise, strength, 0.1, style)
        found.append([result, *torch.autograd.grad(result, wanted, gradient)])
    for exact, each in zip(*found, strict=True):
        assert (each.cpu() - exact).norm() < (1e-4 if dtype == torch.float32 else 0.02) * exact.norm()


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, says torch
@pytest.mark.parametrize("recipe", ["dcgan", "stylegan", "stylegan2", "projection", "wgan-gp"])
def test_recorded_steps_are_the_steps_and_do_not_wait(recipe, data):
    """Both players' rows over 24 steps, with lazy penalties among them: from graphs as operation by operation."""
    registry, device = Registry.installed(), DEVICE
    data = dataclasses.replace(data, labels=torch.arange(100) % 4, class_names=tuple("abcd"))
    small = [
        f"{player}.{option}" for player in ("generator", "discriminator") for option in ("width=8", "max_width=32")
    ]
    config = resolve(registry, *load_layers(None, {"recipe": recipe}, [], [*small, "training.batch=16"]))
    plain, said = build_state(config, registry, data.spec, device), []
    other = copy.deepcopy(plain)
    found = []
    for state, plan in ((plain, ExecutionPlan()), (other, ExecutionPlan(engine="graph"))):
        engine, batches, rows = Engine(plan, device, said.append), Batches(data, 0, device), []
        step = make_stepper(engine)
        for index in range(24):
            seed_everything(0, "step", index)
            state.apply_schedules(config.optimizer)
            shown = [
                read_batch(state, batches, engine, state.images + 16 * number, 16)
                for number in range(config.training.d_steps)
            ]
            set_sync_mode("error" if 4 < index < 16 or index > 18 else "default")
            try:
                taken = step(state, shown, index)
            finally:
                set_sync_mode("default")
            rows.append([{name: value.item() for name, value in row.items()} for row in taken])
        found.append(rows)
    assert not said
    assert plain.images == other.images
    for ours, theirs in zip(*found, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=1e-2, abs=1e-3)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, says torch
@pytest.mark.parametrize("feeder", [DirectFeeder, PrefetchingFeeder, ResidentFeeder])
def test_every_feeder_brings_the_same_batches_without_waiting(feeder):
    torch.manual_seed(7)
    examples = torch.randint(0, 256, (300, 3, 64, 64), dtype=torch.uint8)
    data = PackedData("test", examples, torch.arange(300) % 3, ("a", "b", "c"), "abc")
    asked = torch.randint(300, (60, 64), generator=torch.Generator().manual_seed(1))
    feed = feeder(data, DEVICE)
    feed.fetch(asked[0])
    edge = 2048 if DEVICE.type == "cuda" else 16
    busy, fed = torch.randn(edge, edge, device=DEVICE), []
    synchronize(DEVICE)
    set_sync_mode("error")
    try:
        for indices, upcoming in zip(asked, asked.roll(-1, 0), strict=True):
            fed.append(feed.fetch(indices))
            feed.prepare(upcoming)
            busy = busy @ busy  # so that copies wait in line while their memory could be given out again
    finally:
        set_sync_mode("default")
    for indices, (images, labels) in zip(asked, fed, strict=True):
        assert torch.equal(images.cpu(), examples[indices])
        assert torch.equal(labels.cpu(), indices % 3)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_step_that_is_not_finite_is_skipped_and_leaves_no_trace(data, engine):
    registry, device = Registry.installed(), DEVICE
    config = resolve(registry, DCGAN, *load_layers(None, None, [], SETTINGS))
    state = build_state(config, registry, data.spec, device)
    how, batches = Engine(ExecutionPlan(engine=engine), device), Batches(data, 0, device)
    step, skipped = make_stepper(how), []
    for index in range(6):
        seed_everything(0, "step", index)
        state.apply_schedules(config.optimizer)
        batch = read_batch(state, batches, how, state.images, 16)
        if index == 4:  # from a recording, where there are any
            batch = dataclasses.replace(batch, real=batch.real * float("nan"))
        before = {name: each.clone() for name, each in state.tensors().items() if name.startswith("discriminator")}
        rows = step(state, [batch], index)
        skipped.append([row[name].item() for row in rows for name in row if name.startswith("skipped/")])
        if index == 4:
            assert all(torch.equal(each, before[name]) for name, each in state.tensors().items() if name in before)
            assert state.streak == 1
    assert skipped == [[0, 0]] * 4 + [[1, 0], [0, 0]]
    assert state.streak == 0
    assert all(each.isfinite().all() for each in state.tensors().values())


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_copied_state_steps_without_a_warning(data, engine):
    """torch warns of a capturable optimizer that is not captured; each plan is measured on a copy."""
    config = resolve(Registry.installed(), DCGAN, *load_layers(None, None, [], SETTINGS))
    state = build_state(config, Registry.installed(), data.spec, DEVICE)
    for copied in (copy.deepcopy(state), copy.deepcopy(state)):
        how = Engine(ExecutionPlan(engine=engine), DEVICE)
        step, batches = make_stepper(how), Batches(data, 0, DEVICE)
        for index in range(4):
            copied.apply_schedules(config.optimizer)
            step(copied, [read_batch(copied, batches, how, 0, 16)], index)


def test_features_are_those_of_a_cpu(random_inception):
    images = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    expected = Inception(random_inception.state_dict())(images)[0].double()
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = Inception(random_inception.state_dict()).to(DEVICE)(images.to(DEVICE))[0].cpu().double()
    assert (found - expected).norm() < 2e-6 * expected.norm()


def generator_of(recipe, data):
    """A generator in evaluation mode, and its card."""
    registry = Registry.installed()
    config = resolve(registry, {"recipe": recipe, "generator": {"width": 8}})
    torch.manual_seed(0)
    generator = registry.build("generator", config.generator.name, config.generator.options, data.spec).eval()
    part = {"name": config.generator.name, "options": {}}
    return generator, {"generator": part, "data": {"shape": list(data.spec.shape), "class_names": []}, "images": 1}


@pytest.mark.parametrize("recipe", ["dcgan", "stylegan"])
def test_native_code_for_a_device_is_verified_there(recipe, data, tmp_path):
    torch.use_deterministic_algorithms(False)
    report = InductorExporter(device=DEVICE.type).export(*generator_of(recipe, data), tmp_path / "model.pt2")
    assert report.worst_difference <= TOLERANCE


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_torchscript_for_a_device_lies_and_is_verified_there(data, tmp_path):
    generator, card = generator_of("dcgan", data)
    report = TorchScriptExporter(device=DEVICE.type).export(generator, card, tmp_path / "model.pt")
    network = torch.jit.load(report.path)
    assert network.sample(3, 1).device.type == DEVICE.type
    with torch.backends.cudnn.flags(allow_tf32=False):
        torch.testing.assert_close(
            network.sample(3, 1).cpu(), ganforge.generate(generator, 3, seed=1), rtol=0, atol=1e-5
        )
