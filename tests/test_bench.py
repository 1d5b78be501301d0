"""Counts of bench agree with closed forms, and printed values with measured ones."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from ganforge.benchmark import fit as fitting
from ganforge.benchmark.cases import LoopCase, load_exported, machine_cases
from ganforge.benchmark.compare import compare_players, split_variant
from ganforge.benchmark.fit import Line, fit_shape
from ganforge.benchmark.timing import Timing, alternate, measure_cases, take_turns, weighted_mean
from ganforge.benchmark.training_setup import count_step, draw_noise, open_players
from ganforge.config.schema import resolve
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.core.accelerator import backend_of
from ganforge.data.pack import probe_spec
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder
from ganforge.sampling import draw_latents
from ganforge.training.execution.counting import StepCounter
from ganforge.training.loop import train
from ganforge.training.start import open_recorder

CPU = torch.device("cpu")
PLAN = {"engine": "eager", "precision": "float32", "layout": "contiguous", "threads": "1"}
TINY = ["generator.width=8", "discriminator.width=8", "generator.max_width=16", "discriminator.max_width=16"]
SMALL = ["--resolution", "16", "--batch", "4", "--seconds", "0.02", *[f"--set={each}" for each in TINY]]
FIXED = [f"--set=training.{name}={value}" for name, value in PLAN.items()]


@pytest.fixture(scope="module")
def registry():
    return Registry(load_plugins())


def settle(registry, *layers, width=True):
    sizes = {"width": "8", "max_width": "16"}
    base = {"training": {**PLAN, "batch": "4"}, "data": {"resolution": "16"}}
    networks = {"generator": sizes, "discriminator": sizes} if width else {}
    return resolve(registry, networks, base, *layers)


def players_of(registry, *layers, width=True):
    config = settle(registry, *layers, width=width)
    data = draw_noise(probe_spec(config.data, registry), config.training.batch)
    return open_players(config, registry, data, CPU, pytest.fail)


# Counting


def test_operations_of_a_linear_layer_and_of_both_its_gradients():
    layer, inputs = nn.Linear(8, 4), torch.randn(5, 8, requires_grad=True)
    with StepCounter() as counter:
        layer(inputs).sum().backward()
    assert counter.flops == 3 * 2 * 5 * 8 * 4


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_operations_of_a_convolution_and_of_both_its_gradients(groups, transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer, inputs = kind(4, 6, 3, stride=2, padding=1, groups=groups), torch.randn(2, 4, 9, 9, requires_grad=True)
    with StepCounter() as counter:
        output = layer(inputs)
        once = counter.flops
        output.square().sum().backward()
    positions = inputs[0, 0].numel() if transposed else output[0, 0].numel()
    assert once == 2 * 2 * positions * (4 * 6 // groups) * 3 * 3
    assert counter.flops == 3 * once


def test_operations_of_a_penalty_by_gradients_are_counted_in_its_second_derivative_too():
    first, second = nn.Linear(8, 4), nn.Linear(4, 1)
    inputs = torch.randn(5, 8, requires_grad=True)
    with StepCounter() as counter:
        logits = second(first(inputs).tanh()).sum()
        (gradient,) = torch.autograd.grad(logits, inputs, create_graph=True)
        once = counter.flops
        gradient.square().sum().backward(inputs=[first.weight, second.weight])
    large, small = 2 * 5 * 8 * 4, 2 * 5 * 4 * 1
    assert once == 2 * (large + small)
    # Through the gradient's own product with the first weight, to both of its factors; to the second weight; and, since
    # the slope of the tanh depends on what the first layer gives, to the first weight once more.
    assert counter.flops == once + 3 * large + small


def test_bytes_are_those_of_what_is_read_and_written():
    first, second = torch.ones(10, 3), torch.ones(3)
    with StepCounter() as counter:
        total = first + second  # 30 and 3 floats read, 30 written
        assert counter.bytes == 4 * (30 + 3 + 30)
        total.view(3, 10).t()
        total.expand(2, 10, 3)
        assert counter.bytes == 4 * 63  # views are free
        total.mul_(second)  # changed in place: read and written
        assert counter.bytes == 4 * (63 + 63)
        total[:2].sum()
        assert counter.bytes == 4 * (126 + 6 + 1)
        torch.empty(1000)
        assert counter.bytes == 4 * 133
        torch.zeros(7)
        assert counter.bytes == 4 * 140
        torch._foreach_add_([total, second], 1.0)
        assert counter.bytes == 4 * (140 + 2 * 33)


def test_bytes_of_what_is_expanded_are_read_once():
    with StepCounter() as counter:
        torch.ones(1).expand(1000).neg()
    assert counter.bytes == 4 * (1 + 1 + 1000)


def test_peak_is_that_of_tensors_that_live_at_the_same_time():
    with StepCounter() as counter:
        first = torch.zeros(1000)
        second = first * 2
        del first
        third = second + 1
        assert counter.peak_bytes == 8000
        fourth = third * 2
        assert counter.peak_bytes == 12000
        del second, third, fourth
        torch.zeros(2500)
    assert counter.peak_bytes == 12000


def test_peak_counts_what_is_kept_for_the_gradient_and_what_was_there_before():
    weight = torch.zeros(1000, requires_grad=True)
    with StepCounter([weight, weight.detach()]) as counter:
        loss = weight.exp().exp().sum()  # both results are kept, though no name holds them
        assert counter.peak_bytes == 3 * 4000 + 4
        torch.zeros(500)
        assert counter.peak_bytes == 3 * 4000 + 4 + 2000
        loss.backward()
    assert counter.peak_bytes >= 4 * 4000


# Timing


def test_the_case_that_had_least_time_is_next():
    order = []

    def sample(name, seconds):
        order.append(name)
        return seconds

    taken = take_turns({"quick": lambda: sample("quick", 1.0), "slow": lambda: sample("slow", 4.0)}, 8.0)
    assert taken == {"quick": [1.0] * 8, "slow": [4.0] * 3}  # three at least
    assert order[:7] == ["quick", "slow", "quick", "quick", "quick", "quick", "slow"]


def test_variants_alternate_strictly():
    order = []
    taken = alternate({name: lambda name=name: order.append(name) or 1.0 for name in "ABC"}, 5.0)
    assert "".join(order) == "ABC" * 5
    assert taken == dict.fromkeys("ABC", [1.0] * 5)


def test_what_is_made_ready_is_not_timed_and_quick_calls_are_taken_together():
    events = []

    def case(calls):
        events.append(("ready", calls))
        return lambda: events.append(("run", calls))

    samples = measure_cases({"case": case}, 0.01, lambda: None)["case"]
    assert len(samples) >= 3
    assert all(each == ("ready", following[1]) for each, following in zip(events[::2], events[1::2], strict=True))
    assert events[:4] == [("ready", 3), ("run", 3), ("ready", 1), ("run", 1)]
    assert events[-1] == ("run", 16)


def test_kinds_are_weighed_by_how_often_they_come():
    mean = weighted_mean([Timing.of([1.0, 2.0, 9.0]), Timing.of([10.0, 20.0, 30.0, 40.0])], [0.75, 0.25])
    assert mean == Timing(median=0.75 * 2 + 0.25 * 25, least=0.75 + 2.5, most=0.75 * 9 + 10, samples=3)


# Players


def test_kinds_of_steps_and_their_shares(registry):
    players = players_of(registry, {"recipe": "stylegan2"})
    kinds = [(each.penalties, each.index, each.share) for each in players.kinds()]
    assert kinds == [(("r1", "path-length"), 0, 1 / 16), ((), 1, 12 / 16), (("path-length",), 4, 3 / 16)]


def test_kinds_where_the_discriminator_takes_more_steps(registry):
    tree = {"recipe": "dcgan", "regularizers": {"r1": {"every": "4"}}, "training": {"d_steps": "3"}}
    kinds = players_of(registry, tree).kinds()
    # Due on the discriminator's steps 0, 4, 8 of 12, and on the generator's 0 of 4.
    assert [(each.penalties, each.index, each.share) for each in kinds] == [
        (("r1",), 0, 1 / 4),
        (("r1",), 1, 2 / 4),
        ((), 3, 1 / 4),
    ]


def test_a_penalty_without_weight_is_not_due(registry):
    tree = {"recipe": "dcgan", "regularizers": {"r1": {"every": "4", "weight": "0"}}}
    assert [(each.penalties, each.share) for each in players_of(registry, tree).kinds()] == [((), 1.0)]


def test_networks_that_grow_are_measured_whole(registry):
    players = players_of(registry, {"recipe": "pggan"})
    phases = players.state.generator.phases()
    assert players.begin == phases[-1] > 0
    whole = count_step(players, players.kinds()[0]).flops
    players.begin = players.state.images = 0
    players.state.apply_schedules(players.config.optimizer)
    assert count_step(players, players.kinds()[0]).flops < whole


def test_operations_of_a_whole_step(registry):
    tree = {
        "recipe": "mlp",
        "generator": {"z_dim": "8", "hidden": "16"},
        "discriminator": {"hidden": "16"},
        "data": {"resolution": "8"},
    }
    players = players_of(registry, tree, width=False)
    size = 3 * 8 * 8
    generator, discriminator = (2 * 4 * each for each in (8 * 16 + 16 * size, size * 16 + 16))
    first_of_generator, first_of_discriminator = 2 * 4 * 8 * 16, 2 * 4 * size * 16
    # G forward; D on both sides forward, and backward to its weights but not its inputs; D forward on the fakes,
    # backward to its inputs only; G backward to its weights, but not its inputs.
    expected = generator
    expected += 2 * (3 * discriminator - first_of_discriminator)
    expected += 2 * discriminator
    expected += 2 * generator - first_of_generator
    assert count_step(players, players.kinds()[0]).flops == expected


def test_the_loop_is_that_of_training(registry, here):
    tree = {"regularizers": {"r1": {"every": "2"}}, "training": {"d_steps": "2", "images": "48"}}
    measured, trained = players_of(registry, tree), players_of(registry, tree)
    loop = LoopCase(measured)
    for calls in (1, 3, 2):
        loop(calls)()
    assert loop.steps == [[0], [1, 2, 3], [4, 5]]

    class Watcher:
        def step(self, images, seconds): ...
        def tick(self, row): ...
        def note(self, text): ...

    folder = RunFolder.create(here / "runs", "run")
    record = open_recorder(trained.config, registry, trained.data, folder, trained.state)
    train(trained.state, trained.batches, record, trained.config, Watcher(), trained.engine)
    assert trained.state.images == measured.state.images == 48
    for name, tensor in trained.state.tensors().items():
        assert torch.equal(tensor, measured.state.tensors()[name]), name


def test_the_time_of_the_loop_is_that_of_a_mean_step(registry):
    players = players_of(registry, {"regularizers": {"r1": {"every": "4"}}})
    kinds = players.kinds()
    loop = LoopCase(players)
    loop.steps = [[9, 9], [0], [1], [4, 5]]
    steps = [Timing.of([3.0]), Timing.of([1.0])]  # with and without, so 1.5 on average
    settled = loop.correct([6.0, 2.0, 2.0], kinds, steps)
    assert (settled.least, settled.median, settled.most) == (1.5, 3.0, 3.0)  # 2 for 2 expected, else twice of it


def test_the_exported_generator_is_the_same(registry):
    players = players_of(registry, {"training": {"layout": "channels_last"}})
    average = players.state.ema
    before = copy.deepcopy(average).eval()
    z = draw_latents(3, average.z_dim, 0)
    with torch.no_grad():
        torch.testing.assert_close(load_exported(average, players.data.spec, CPU)(z), before(z))


# Memory


def test_a_line_is_found_and_solved():
    line = Line.through((2, 1000 + 2 * 300), (8, 1000 + 8 * 300))
    assert line == Line(1000.0, 300.0)
    assert [line.largest(free) for free in (0, 1299, 1300, 4000, 4299)] == [0, 0, 1, 10, 10]


def test_batches_grow_until_they_lie_on_a_line(registry, monkeypatch):
    # At first gradients are the most, later the maps.
    monkeypatch.setattr(
        fitting, "count_peak", lambda *arguments: max(1000 + 10 * arguments[-1], 600 + 60 * arguments[-1])
    )
    found = fit_shape(settle(registry), registry, DataSpec((3, 8, 8)), CPU, 10_000)
    assert found.points == ((2, 1020), (4, 1040), (8, 1080), (16, 1560), (32, 2520))
    assert found.straight
    assert (found.line, found.largest) == (Line(600.0, 60.0), 156)


def test_the_peak_of_a_step_is_predicted_by_the_line(registry):
    config = players_of(registry).config
    spec = DataSpec((3, 16, 16))
    found = fit_shape(config, registry, spec, CPU, 50_000_000)
    wanted = fitting.count_peak(config, registry, spec, CPU, 2 * found.points[-1][0])
    assert found.line.fixed + found.line.each * 2 * found.points[-1][0] == pytest.approx(wanted, rel=0.02)


def test_refused_resolutions_are_left_out_and_those_without_room(registry, monkeypatch):
    config = players_of(registry).config
    monkeypatch.setattr(fitting, "RESOLUTIONS", (8, 16, 32, 64))
    monkeypatch.setattr(fitting, "count_peak", count := CountPeak())
    found = list(fitting.fit_batches(config, registry, DataSpec((3, 24, 24)), CPU, 5 * 16 * 16 * 2))
    assert [each.shape for each in found] == [(3, 8, 8), (3, 16, 16), (3, 32, 32)]
    assert [each.largest for each in found] == [40, 10, 2]
    assert count.refused == [2, 3, 4]


class CountPeak:
    """Takes a byte a pixel, and refuses 24."""

    def __init__(self):
        self.refused = []

    def __call__(self, config, registry, spec, device, batch):
        if spec.shape[1] == 24:
            self.refused.append(batch)
            raise OptionError("24 is no power of two")
        return batch * spec.shape[1] ** 2


def test_a_batch_in_parts_is_measured_in_parts(registry, monkeypatch):
    config = settle(registry, {"training": {"accumulate": "2"}})
    monkeypatch.setattr(fitting, "count_peak", CountPeak())
    found = fit_shape(config, registry, DataSpec((3, 8, 8)), CPU, 6400)
    assert [batch for batch, _ in found.points] == [4, 8, 16]


# Variants


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("training.batch=8", ["training.batch=8"]),
        ("training.batch=8, loss.name=hinge", ["training.batch=8", "loss.name=hinge"]),
        ("generator.hidden=64,128,training.batch=8", ["generator.hidden=64,128", "training.batch=8"]),
        ("regularizers.r1.weight=linear:1.5:0:100", ["regularizers.r1.weight=linear:1.5:0:100"]),
    ],
)
def test_a_variant_is_split_into_settings(text, settings):
    assert split_variant(text) == settings


@pytest.mark.parametrize("text", ["", "bfloat16", "precision=bfloat16", "training.precision"])
def test_a_variant_without_settings_is_refused(text):
    with pytest.raises(OptionError, match="is not of the form section.option=value"):
        split_variant(text)


def test_ratios_are_of_the_time_of_an_image(registry):
    one, other = players_of(registry), players_of(registry, {"training": {"batch": "8"}})
    first, second = compare_players({"one": one, "other": other}, 0.0)
    assert first["ratio"] == first["min_ratio"] == first["max_ratio"] == 1.0
    assert first["rounds"] == second["rounds"] == 3
    assert second["images_per_second"] == pytest.approx(8 / second["median_seconds"])
    assert second["min_ratio"] <= second["ratio"] <= second["max_ratio"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "training.batch=8"], "a single variant cannot be compared"),
        (["--compare", "bfloat16", "--compare", "training.batch=8"], "'bfloat16' is not of the form"),
        (["--compare", "training.batch=8", "--compare", "training.batch=8"], "is given twice"),
        (["--compare", "training.batsh=8", "--compare", "training.batch=8"], "training has no setting 'batsh'"),
        (["--seconds", "-1"], "--seconds: -1 is too small"),
        (["--arch", "nonsense"], "nonsense"),
    ],
)
def test_mistakes_are_one_line(run, here, arguments, message):
    code, out, err = run("bench", *SMALL, *FIXED, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


# The command


@pytest.fixture
def small_machine(monkeypatch):
    """Measure the machine with small products and copies."""
    small = replace(backend_of(CPU), edge=64, copied_bytes=1 << 16)
    for module in ("cases", "measure"):
        monkeypatch.setattr(f"ganforge.benchmark.{module}.backend_of", lambda device: small)
    return small


def test_the_machine_multiplies_and_copies_as_much_as_its_backend_says(small_machine):
    with StepCounter() as counter:
        cases = machine_cases(CPU)
        counted = {}
        for name, case in cases.items():
            before = counter.flops, counter.bytes
            case(1)()
            counted[name] = counter.flops - before[0], counter.bytes - before[1]
    assert [counted[name][0] for name in ("float32", "bfloat16")] == [2 * 64**3] * 2
    assert counted["copy"] == (0, 3 * 2**16)  # the counter reads the target of an operation in place too


def test_the_report_has_what_it_promises(run, here, tmp_path, monkeypatch, small_machine):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    code, out, _ = run("bench", "--arch", "dcgan", *SMALL, "--reg", "r1:every=4", "--json")
    assert code == 0
    report = json.loads(out)
    assert not list(temporary.iterdir())
    assert not (here / "runs").exists()
    assert report["command"].startswith("ganforge")
    assert report["versions"]["torch"] == torch.__version__
    assert report["device"]["type"] == "cpu"
    assert report["config"]["training"]["engine"] == report["plan"]["engine"] == "eager"
    assert (report["data"]["name"], report["data"]["shape"], report["batch"]) == ("noise", [3, 16, 16], 4)
    cases = report["cases"]
    kinds = cases["step"]["kinds"]
    for case in (*(cases[name] for name in ("step", "loop", "data", "sample", "export")), *kinds):
        assert case["images_per_second"] == pytest.approx(4 / case["median_seconds"])
        assert case["min_seconds"] <= case["median_seconds"] <= case["max_seconds"]
        assert case["samples"] >= 3
    assert [(each["penalties"], each["share"]) for each in kinds] == [(["r1"], 0.25), ([], 0.75)]
    mean = sum(each["share"] * each["median_seconds"] for each in kinds)
    assert cases["step"]["median_seconds"] == pytest.approx(mean)
    assert cases["loop"]["share_of_step"] == pytest.approx(mean / cases["loop"]["median_seconds"])
    ceilings, work = report["ceilings"], report["work"]
    rate = ceilings[report["plan"]["precision"]]["flops_per_second"]
    assert ceilings["copy"]["bytes_per_second"] == pytest.approx(2 * 2**16 / ceilings["copy"]["median_seconds"])
    assert rate == pytest.approx(2 * 64**3 / ceilings[report["plan"]["precision"]]["median_seconds"])
    assert work["floor_seconds"] == pytest.approx(work["flops"] / rate)
    assert work["share_of_ceiling"] == pytest.approx(work["floor_seconds"] / mean)
    assert report["memory"]["process_peak_bytes"] > report["memory"]["step_peak_bytes"] > 0


def test_tables_are_printed(run, here, small_machine):
    code, out, _ = run("bench", "--arch", "mixture", "--batch", "4", "--seconds", "0", *FIXED)
    assert code == 0
    assert out.startswith("mixture, loss rpgan, on noise (2), batch 4\non cpu: eager, float32, contiguous, 1 thread\n")
    for word in ("r1, r2", "loop", "data", "sample", "export", "copy", "share of peak", "peak of this process"):
        assert word in out


def test_data_that_are_named_are_used(run, here, image_folder, small_machine):
    code, out, _ = run("bench", *SMALL, *FIXED, "--data", image_folder, "--seconds", "0", "--json")
    assert code == 0
    data = json.loads(out)["data"]
    assert (data["name"], data["examples"], data["shape"]) == ("photos", 40, [3, 16, 16])


def test_variants_are_compared(run, here):
    variants = ["training.layout=contiguous", "training.layout=channels_last,training.batch=8"]
    flags = [each for text in variants for each in ("--compare", text)]
    code, out, _ = run("bench", *SMALL, *FIXED, *flags, "--seconds", "0", "--json")
    assert code == 0
    report = json.loads(out)
    assert "cases" not in report
    assert [row["variant"] for row in report["compare"]] == variants
    assert [row["plan"].split(", ")[2] for row in report["compare"]] == ["contiguous", "channels_last"]


@pytest.mark.slow
def test_the_largest_batches_are_found(run, here, monkeypatch):
    monkeypatch.setattr(fitting, "RESOLUTIONS", (8, 34))
    monkeypatch.setattr(fitting, "MOST_DOUBLINGS", 2)
    code, out, _ = run("bench", *SMALL, *FIXED, "--fit", "--json")
    assert code == 0
    report = json.loads(out)
    assert [row["shape"] for row in report["fit"]] == [[3, 8, 8], [3, 16, 16]]  # 34 is refused
    for row in report["fit"]:
        room = (report["free_bytes"] - row["fixed_bytes"]) / row["bytes_per_example"]
        assert row["largest_batch"] == int(room)
    code, out, _ = run("bench", *SMALL, *FIXED, "--fit")
    assert "largest batch" in out
    assert "extrapolated to" in out
