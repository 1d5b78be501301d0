"""Each device gets what torch supports on it, and an absent one is refused in one line."""

import copy
import dataclasses
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganforge.config.schema import CPU_MINUTES, GPU_IMAGES, TrainingConfig, resolve
from ganforge.contract.errors import OptionError
from ganforge.core import accelerator, distributed
from ganforge.core.accelerator import BACKENDS, fork_random_state, supports_bfloat16
from ganforge.core.device import DEVICES, choose_device
from ganforge.core.interpolation import lerp, slerp
from ganforge.core.seeding import seed_everything
from ganforge.data.store import PackedData
from ganforge.evaluation.metrics import path_length
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry
from ganforge.session.launcher import launch
from ganforge.training.execution import autotune
from ganforge.training.execution.cuda_graphs import GraphedSteps, detecting_waits
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.prefetch import DirectFeeder, open_feeder
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.statistics import Statistics
from ganforge.training.start import set_default_budget
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step

CPU = torch.device("cpu")
SMALL = {"generator": {"width": "8"}, "discriminator": {"width": "8"}}


@pytest.fixture(scope="module")
def registry():
    return Registry(load_plugins())


@pytest.fixture(scope="module")
def images():
    examples = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return PackedData("noise", examples, torch.arange(64) % 4, tuple("abcd"), "0" * 64)


@pytest.fixture
def machine(monkeypatch):
    """Give this machine accelerators of a type, or none; returns the indices that were set."""

    def pretend(kind, count=1):
        chosen = []
        monkeypatch.setattr(
            torch.accelerator, "current_accelerator", lambda check_available=False: kind and torch.device(kind)
        )
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count if kind else 0)
        monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
        return chosen

    return pretend


@pytest.fixture
def like_mps(monkeypatch):
    """Treat the CPU as a device without float64, found_inf and pinned memory."""
    monkeypatch.setitem(BACKENDS, "cpu", BACKENDS["mps"])


@pytest.mark.parametrize("there", [None, "cuda", "mps", "xpu", "hpu"])
def test_auto_is_the_accelerator_of_torch(machine, there):
    machine(there)
    assert choose_device("auto").type == (there if there in DEVICES else "cpu")
    assert choose_device("cpu") == CPU
    if there in DEVICES:
        assert choose_device(there) == torch.device(there)


@pytest.mark.parametrize(
    ("there", "name", "message"),
    [
        (None, "cuda", "--device cuda: device not found; torch .* finds only the CPU on this machine"),
        ("cuda", "mps", "--device mps: device not found; torch .* finds only cuda and the CPU on this machine"),
        ("mps", "xpu", "--device xpu: device not found; torch .* finds only mps and the CPU on this machine"),
        ("cuda", "cudaa", "--device cudaa: unknown device"),
    ],
)
def test_an_absent_device_is_refused_with_what_there_is(machine, there, name, message):
    machine(there)
    with pytest.raises(OptionError, match=message) as caught:
        choose_device(name)
    assert there is None or there in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_refuses_an_absent_device(run, here, machine):
    machine(None)
    code, _, error = run("train", "--arch", "mlp", "--data", "ring-8", "--device", "xpu", "--images", "64")
    assert code == 2
    assert "--device xpu: device not found" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_each_process_takes_an_accelerator_of_its_own(machine, monkeypatch, kind):
    chosen = machine(kind, count=4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device("auto").type == kind
    assert chosen == [3]
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(OptionError, match="process 4 of this machine has no GPU: torch finds 4"):
        choose_device("auto")


def test_one_accelerator_is_not_shared_by_processes(machine):
    machine("mps")
    with pytest.raises(OptionError, match="--gpus 2: torch finds 1 GPUs"):
        launch(2, torch.device("mps"), [], "")


@pytest.mark.parametrize(
    ("kind", "engines", "layouts"),
    [
        ("cpu", {"eager"}, {"contiguous", "channels_last"}),
        ("cuda", {"eager", "graph"}, {"contiguous", "channels_last"}),
        ("xpu", {"eager"}, {"contiguous", "channels_last"}),
        ("mps", {"eager"}, {"contiguous"}),
    ],
)
@pytest.mark.parametrize("reduced", [True, False])
def test_only_plans_that_a_device_supports_are_tried(monkeypatch, kind, engines, layouts, reduced):
    monkeypatch.setattr(autotune, "supports_bfloat16", lambda device: reduced)
    plans = autotune.candidates(TrainingConfig(), torch.device(kind))
    assert {plan.engine for plan in plans} == engines
    assert {plan.layout for plan in plans} == layouts
    assert {plan.precision for plan in plans} == ({"float32", "bfloat16"} if reduced else {"float32"})
    assert {plan.threads is None for plan in plans} == {kind != "cpu"}


def test_bfloat16_is_refused_where_a_device_has_none(registry, images, monkeypatch):
    config = resolve(registry, {"recipe": "dcgan", "training": {"precision": "bfloat16"}, **SMALL})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert not supports_bfloat16(torch.device("cuda"))
    monkeypatch.setattr(autotune, "supports_bfloat16", lambda device: False)
    with pytest.raises(OptionError, match="--precision bfloat16: .* does not support it"):
        autotune.choose_plan(config, None, None, CPU, print)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_graphs_are_of_cuda_alone(registry, images, kind):
    config = resolve(registry, {"recipe": "dcgan", "training": {"engine": "graph", "precision": "float32"}})
    if kind == "cuda":
        assert BACKENDS[kind].graphs
    else:
        with pytest.raises(OptionError, match="--engine graph: requires a CUDA device"):
            autotune.choose_plan(config, None, None, torch.device(kind), print)


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", "xpu"])
def test_the_default_budget_is_minutes_on_a_cpu_and_images_on_a_gpu(registry, kind):
    training = set_default_budget(resolve(registry, {"recipe": "mlp"}), torch.device(kind)).training
    assert (training.minutes, training.images) == ((CPU_MINUTES, None) if kind == "cpu" else (None, GPU_IMAGES))


@pytest.mark.parametrize(
    ("kind", "expected"), [("cpu", "gloo"), ("cuda", "cpu:gloo,cuda:nccl"), ("xpu", "cpu:gloo,xpu:xccl")]
)
def test_gradients_of_each_device_have_their_backend(monkeypatch, kind, expected):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "x", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    asked = []
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **_: asked.append(backend))
    monkeypatch.setattr(distributed.dist, "new_group", lambda **_: distributed.dist.ProcessGroup(0, 2))
    distributed.join_workers(torch.device(kind))
    assert asked == [expected]


def test_plans_of_two_devices_are_kept_apart(registry, monkeypatch):
    config = resolve(registry, {"recipe": "dcgan"})
    keys = {autotune._cache_key(config, torch.device(kind), 1) for kind in ("cpu", "mps")}
    assert len(keys) == 2


def test_mps_reads_examples_on_request_from_memory_that_is_not_pinned(images, monkeypatch):
    feeder = open_feeder(images, torch.device("mps"))
    assert type(feeder) is DirectFeeder
    monkeypatch.setattr(torch.Tensor, "pin_memory", None)
    feeder._device = torch.device("meta")
    assert feeder.fetch(torch.arange(3))[0].shape == (3, 3, 16, 16)


class NoFloat64(TorchDispatchMode):
    """Fails on float64 on a type of device, as Metal does."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor) and (each.device.type, each.dtype) == (self.device, torch.float64):
                raise TypeError(f"{func} gives float64")
        return out


def train(config, state, data, steps=3):
    engine, batches, statistics = Engine(ExecutionPlan(), CPU), Batches(data, 0, CPU), Statistics()
    for index in range(steps):
        seed_everything(0, "step", index)
        state.apply_schedules(config.optimizer)
        shown = [read_batch(state, batches, engine, 8 * n, 8) for n in range(config.training.d_steps)]
        for row in take_step(state, shown, index, engine):
            statistics.add(row)
    return statistics


@pytest.mark.parametrize("recipe", ["dcgan", "acgan", "stylegan", "stylegan2", "wgan-gp", "pggan", "projection"])
def test_no_step_makes_float64_where_there_is_none(registry, images, like_mps, recipe):
    tree = {"recipe": recipe, "augmentations": {"ada": {}}, "training": {"batch": 8}, **SMALL}
    config = resolve(registry, tree)
    state = build_state(config, registry, images.spec, CPU)
    with NoFloat64():
        statistics = train(config, state, images)
        saved = statistics.tensors()
        statistics.load(dict(saved), CPU)
    assert {each.dtype for each in saved.values()} == {torch.float32}
    assert all(math.isfinite(each) for each in statistics.read().values())


def test_statistics_move_between_devices_with_and_without_float64(monkeypatch):
    wide = Statistics()
    wide.add({"a": torch.tensor(2.0)})
    assert wide.tensors()["a"].dtype == torch.float64
    monkeypatch.setitem(BACKENDS, "cpu", BACKENDS["mps"])
    narrow = Statistics()
    narrow.load(wide.tensors(), CPU)
    narrow.add({"a": torch.tensor(4.0)})
    assert narrow.tensors()["a"].dtype == torch.float32
    assert narrow.read() == {"a": 3.0}


def test_a_step_that_is_not_finite_is_skipped_without_found_inf(registry, images, like_mps, monkeypatch):
    """Adam of such a device would step; here it fails if it is asked to."""
    config = resolve(registry, {"recipe": "dcgan", "training": {"batch": 8}, **SMALL})
    state = build_state(config, registry, images.spec, CPU)
    train(config, state, images, 1)
    before = {name: each.clone() for name, each in state.tensors().items() if name.startswith("discriminator")}
    asked = []
    step = state.generator_optimizer.step
    monkeypatch.setattr(state.discriminator_optimizer, "step", lambda: asked.append("discriminator"))
    monkeypatch.setattr(state.generator_optimizer, "step", lambda: asked.append("generator") or step())
    batch = read_batch(state, Batches(images, 0, CPU), Engine(ExecutionPlan(), CPU), 8, 8)
    real = batch.real.clone()
    real[0] = torch.nan
    rows = take_step(state, [dataclasses.replace(batch, real=real)], 1)
    assert [row[name].item() for row in rows for name in row if name.startswith("skipped/")] == [1, 0]
    assert asked == ["generator"]
    now = state.tensors()
    assert all(torch.equal(now[name], each) for name, each in before.items())


class Double(torch.nn.Module):
    """A generator that notes the types of its inputs."""

    z_dim = 4

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.seen = set()

    def forward(self, z, labels=None):
        self.seen.add(z.dtype)
        return (z * self.scale)[:, :, None, None]


def test_path_lengths_keep_float64_off_a_device_without_it(like_mps, monkeypatch):
    generator = Double()
    run = type("Run", (), {"generator": generator, "device": CPU, "draw_labels": lambda *_: None})()
    copied, distance = path_length._in_double(run, torch.nn.Linear(1, 1))
    assert {each.dtype for each in [*copied.parameters(), *distance.parameters()]} == {torch.float32}
    z = [torch.randn(3, 4, dtype=torch.float64) for _ in range(2)]
    path, generate = path_length._in_space(copied, "z", z, None, 1.0)
    positions = torch.full((3,), 0.25, dtype=torch.float64)
    assert path(positions).dtype == torch.float64
    found = path_length.path_lengths(generate, lambda a, b: (a - b).square().sum((1, 2, 3)), path, positions, 1e-2)
    assert copied.seen == {torch.float32}
    assert found.dtype == torch.float64
    assert found.isfinite().all()


@pytest.mark.parametrize("interpolate", [lerp, slerp])
def test_interpolation_keeps_float64_off_a_device_without_it(interpolate):
    with FakeTensorMode(), NoFloat64("mps"):
        start, end = torch.empty(3, 8, device="mps"), torch.empty(3, 8, device="mps")
        found = interpolate(start, end, torch.arange(3, dtype=torch.float64)[:, None])
    assert (found.device.type, found.dtype) == ("mps", torch.float32)


def test_random_states_are_restored():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with fork_random_state(CPU):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_random_states_of_a_gpu_are_restored(monkeypatch):
    states = {"state": torch.tensor([1])}
    fake = type("module", (), {})()
    fake.get_rng_state = lambda device: states["state"]
    fake.set_rng_state = lambda state, device: states.update(state=state)
    monkeypatch.setattr(torch, "get_device_module", lambda device: fake)
    with fork_random_state(torch.device("xpu")):
        assert torch.equal(accelerator.read_random_state(torch.device("xpu")), torch.tensor([1]))
        states["state"] = torch.tensor([2])
    assert torch.equal(states["state"], torch.tensor([1]))


class Recorder:
    """Replays by running the work again; notes what it finds while it runs and while it records."""

    def __init__(self, state, waits=()):
        self.state = state
        self.waits = list(waits)
        self.ran, self.recorded = [], []

    def capturable(self):
        return [
            group["capturable"] for optimizer, _ in self.state.optimizers().values() for group in optimizer.param_groups
        ]

    def run(self, work):
        self.ran.append(self.capturable())
        return work(), self.waits.pop(0) if self.waits else ""

    def record(self, work):
        self.recorded.append(self.capturable())
        if self.waits == ["fail"]:
            raise RuntimeError("operation not permitted when stream is capturing")
        return work


def graphed(registry, images, waits, steps=6):
    config = resolve(registry, {"recipe": "dcgan", "training": {"batch": 8}, **SMALL})
    state, said = build_state(config, registry, images.spec, CPU), []
    recorder = Recorder(state, waits)
    engine = Engine(ExecutionPlan(), CPU, said.append)
    stepper, batches = GraphedSteps(engine, recorder), Batches(images, 0, CPU)
    for index in range(steps):
        state.apply_schedules(config.optimizer)
        stepper(state, [read_batch(state, batches, engine, 0, 8)], index)
    return recorder, said


def test_optimizers_are_capturable_exactly_while_they_are_recorded(registry, images):
    recorder, said = graphed(registry, images, [])
    assert recorder.ran == [[False, False]]
    assert recorder.recorded == [[True, True]]
    assert recorder.capturable() == [False, False]
    assert not said


def test_optimizers_are_not_capturable_after_a_capture_that_failed(registry, images):
    recorder, said = graphed(registry, images, ["", "fail"])
    assert recorder.recorded == [[True, True]]
    assert recorder.capturable() == [False, False]
    assert said == ["CUDA graphs disabled, steps run eagerly: operation not permitted when stream is capturing"]


def test_a_copied_optimizer_does_not_warn(registry, images):
    """torch warns of a capturable optimizer that steps without a capture; it looks at the flag alone."""
    config = resolve(registry, {"recipe": "dcgan", "training": {"batch": 8}, **SMALL})
    state = copy.deepcopy(build_state(config, registry, images.spec, CPU))
    assert not any(group["capturable"] for each, _ in state.optimizers().values() for group in each.param_groups)


def test_a_step_that_waits_twice_is_never_captured(registry, images):
    recorder, said = graphed(registry, images, ["a.py, line 3, synchronizes with the device"] * 2)
    assert (len(recorder.ran), recorder.recorded) == (2, [])
    assert said == ["CUDA graphs disabled, steps run eagerly: a.py, line 3, synchronizes with the device"]


def test_a_step_that_waits_at_its_first_use_only_is_captured(registry, images):
    recorder, said = graphed(registry, images, ["a.py, line 3, synchronizes with the device"])
    assert (len(recorder.ran), len(recorder.recorded)) == (2, 1)
    assert not said


def test_waits_are_detected_where_they_happen(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with detecting_waits() as waits:
            warnings.warn("Synchronization debug mode is a prototype feature", UserWarning, stacklevel=1)
            warnings.warn("something else", UserWarning, stacklevel=1)
            warnings.warn("called a synchronizing CUDA operation (Triggered internally)", UserWarning, stacklevel=1)
    assert [str(each.message) for each in others] == ["something else"]
    assert len(waits) == 1
    assert waits[0].startswith(f"{__file__}, line ")
    assert modes == ["warn", 0]


def test_the_table_of_devices_in_the_docs_is_that_of_the_code():
    text = (Path(__file__).parent.parent / "docs" / "guide" / "speed.md").read_text()
    yes = {True: "yes", False: "no"}
    for name, backend in BACKENDS.items():
        layouts = "NCHW and NHWC" if backend.channels_last else "NCHW"
        graphs, pinned, float64 = (yes[each] for each in (backend.graphs, backend.pinned, backend.float64))
        cells = [graphs, pinned, layouts, float64, backend.collectives or "none"]
        assert f"| `{name}` | {' | '.join(cells)} |" in text
