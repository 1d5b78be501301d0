import copy
import json
import signal
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations, spectral_norm

import ganforge
from ganforge import CheckpointError, GanforgeError
from ganforge.config.schema import TrainingConfig, resolve
from ganforge.config.sources import load_layers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.ema import update_ema
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.recording.checkpoints import choose_old
from ganforge.training.recording.statistics import Statistics
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


def packed(examples, labels=None, class_names=(), fingerprint="abc"):
    return PackedData("test", examples, labels, class_names, fingerprint)


@pytest.fixture
def images():
    torch.manual_seed(7)
    return packed(torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8))


class Silent:
    """A watcher that keeps rows, and can send a signal after a number of steps."""

    def __init__(self, stop_after=None):
        self.rows, self.steps, self.stop_after = [], 0, stop_after

    def step(self, images, seconds):
        self.steps += 1
        if self.steps == self.stop_after:
            signal.raise_signal(signal.SIGINT)

    def tick(self, row):
        self.rows.append(row)

    def note(self, text):
        self.rows.append(text)


SMALL = ["recipe.x", "generator.width=4", "discriminator.width=4", "training.batch=5", "training.tick_images=20"][1:]


def run(registry, data, folder, settings, regularizers=(), resume=False, stop_after=None):
    config = resolve(registry, *load_layers(None, None, regularizers, [*SMALL, *settings]))
    state = build_state(config, registry, data.spec, CPU)
    record = open_recorder(config, registry, data, folder, state)
    if resume:
        recovery.resume(record, CPU)
    watcher = Silent(stop_after)
    outcome = loop.train(state, Batches(data, config.training.seed, CPU), record, config, watcher, EAGER)
    return outcome, watcher, state


def rows_without_times(folder):
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return [{key: row[key] for key in row if key not in ("seconds", "images_per_second", "picture")} for row in rows]


@pytest.mark.parametrize("stop_after", [1, 6, 13])
def test_a_run_stopped_and_resumed_ends_with_the_bytes_of_an_unbroken_one(registry, images, tmp_path, stop_after):
    settings, penalties = ["training.images=100"], ["r1:every=3"]
    whole, broken = (RunFolder.create(tmp_path, name) for name in ("whole", "broken"))
    run(registry, images, whole, settings, penalties)
    outcome, *_ = run(registry, images, broken, settings, penalties, stop_after=stop_after)
    assert outcome.stopped == signal.SIGINT
    assert outcome.images == 5 * stop_after
    outcome, *_ = run(registry, images, broken, settings, penalties, resume=True)
    assert (outcome.stopped, outcome.images) == (None, 100)
    assert broken.generator.read_bytes() == whole.generator.read_bytes()
    ours, _ = read_tensors(broken.checkpoint_path(100))
    theirs, _ = read_tensors(whole.checkpoint_path(100))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_without_times(broken) == rows_without_times(whole)
    drawn = [{path.name: path.read_bytes() for path in each.samples.iterdir()} for each in (broken, whole)]
    assert drawn[0] == drawn[1]


def test_the_seed_settles_a_run_and_another_seed_gives_another(registry, images, tmp_path):
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = RunFolder.create(tmp_path, name)
        torch.manual_seed(files.__len__())  # what was drawn before must not matter
        run(registry, images, folder, ["training.images=30", f"training.seed={seed}"])
        files.append(read_tensors(folder.generator)[1]["digest"])
    assert files[0] == files[1] != files[2]


def test_a_damaged_newest_checkpoint_is_passed_over(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    run(registry, images, folder, ["training.images=50"])
    run(registry, images, folder, ["training.images=100"], resume=True)
    content = bytearray(folder.checkpoint_path(100).read_bytes())
    content[-3] ^= 4
    folder.checkpoint_path(100).write_bytes(content)
    outcome, *_ = run(registry, images, folder, ["training.images=100"], resume=True)
    assert outcome.images == 100
    assert read_tensors(folder.checkpoint_path(100))[1]["images"] == 100


def test_other_data_and_other_networks_cannot_be_resumed(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    run(registry, images, folder, ["training.images=20"])
    other = packed(images.examples, fingerprint="xyz")
    with pytest.raises(CheckpointError, match="the data changed since the run began"):
        run(registry, other, folder, ["training.images=40"], resume=True)
    with pytest.raises(CheckpointError, match="does not fit the run's generator"):
        run(registry, images, folder, ["training.images=40", "generator.width=8"], resume=True)


def test_the_run_folder_holds_what_it_should(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    run(registry, images, folder, ["training.images=60"])
    assert [row["images"] for row in rows_without_times(folder)] == [20, 40, 60]
    names = {"D(x)", "D(G(z))", "discriminator/loss", "generator/loss"}
    assert all(names <= row.keys() for row in rows_without_times(folder))
    assert len(folder.sample_paths()) == 4
    assert folder.reals.is_file()
    assert folder.animation.read_bytes()[:3] == b"GIF"
    generator = ganforge.load(folder.path)
    assert ganforge.generate(generator, 3).shape == (3, 1, 8, 8)


def test_the_discriminator_takes_d_steps_for_one_of_the_generator(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    _, watcher, state = run(registry, images, folder, ["training.images=60", "training.d_steps=3"])
    steps = {name: int(next(iter(opt.state.values()))["step"]) for name, (opt, _) in state.optimizers().items()}
    assert steps == {"generator_optimizer": 4, "discriminator_optimizer": 12}
    assert watcher.steps == 4


@pytest.mark.slow
def test_training_moves_a_gaussian_towards_the_data(registry, tmp_path):
    torch.manual_seed(0)
    data = packed(torch.randn(2000, 1) * 0.5 + 3.0)
    folder = RunFolder.create(tmp_path, "x")
    settings = ["generator.name=mlp", "discriminator.name=mlp", "generator.hidden=32", "discriminator.hidden=32"]
    settings += ["generator.z_dim=4", "training.batch=64", "training.images=60k", "optimizer.generator_lr=1e-3"]
    settings += ["optimizer.discriminator_lr=1e-3", "training.tick_images=30k"]
    config = resolve(registry, *load_layers(None, None, [], settings))
    state = build_state(config, registry, data.spec, CPU)
    before = ganforge.generate(state.ema, 500).mean().item()
    record = open_recorder(config, registry, data, folder, state)
    loop.train(state, Batches(data, 0, CPU), record, config, Silent(), EAGER)
    after = ganforge.generate(state.ema, 500).mean().item()
    assert abs(after - 3.0) < 0.3 < abs(before - 3.0)


def test_batches_show_every_example_once_an_epoch_in_an_order_of_its_own():
    data = packed(torch.arange(7.0)[:, None])
    batches = Batches(data, 3, CPU)
    order = batches.indices(0, 21).view(3, 7)
    assert all(sorted(epoch.tolist()) == list(range(7)) for epoch in order)
    assert len({tuple(epoch.tolist()) for epoch in order}) == 3
    pieces = torch.cat([Batches(data, 3, CPU).indices(start, 3) for start in range(0, 21, 3)])
    assert torch.equal(pieces, order.flatten())


def test_pixels_become_floats_in_the_documented_range():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    examples, labels = Batches(packed(pixels), 0, CPU).read(0, 3)
    assert sorted(examples.flatten().tolist()) == pytest.approx([-1.0, -0.6, 1.0])
    assert labels is None


def test_labels_go_with_their_examples():
    data = packed(torch.arange(10.0)[:, None], torch.arange(10) % 2, ("even", "odd"))
    examples, labels = Batches(data, 0, CPU).read(0, 25)
    assert torch.equal(examples.flatten().long() % 2, labels)


def test_the_average_halves_an_old_network_after_its_half_life():
    average, network = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(1.0)
    network.weight.data.fill_(0.0)
    for _ in range(10):
        update_ema(average, network, images=10, shown=10**9, half_life=100)
    assert average.weight.item() == pytest.approx(0.5, rel=1e-5)
    update_ema(average, network, images=10, shown=200, half_life=100)  # the ramp: 10 images halve it
    assert average.weight.item() == pytest.approx(0.25, rel=1e-5)
    update_ema(average, network, images=10, shown=10**9, half_life=0)
    assert average.weight.item() == 0.0


def test_the_average_takes_buffers_along():
    average, network = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    network(torch.randn(100, 2) + 5)
    update_ema(average, network, images=1, shown=0, half_life=0)
    assert torch.equal(average.running_mean, network.running_mean)
    assert average.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("normalise", "raw"),
    [(parametrizations.spectral_norm, "parametrizations.weight.original"), (spectral_norm, "weight_orig")],
)
def test_the_average_of_spectrally_normalised_weights_has_a_norm_of_1(normalise, raw):
    network = normalise(torch.nn.Linear(2, 2, bias=False))
    average = copy.deepcopy(network).eval()
    for diagonal, half_life, times in (([2.0, 1.0], 0, 10), ([1.0, 2.0], 1, 50)):  # turned by a right angle
        network.get_parameter(raw).data.copy_(torch.diag(torch.tensor(diagonal)))
        for _ in range(times):
            network(torch.ones(1, 2))
        update_ema(average, network, images=1, shown=10**9, half_life=half_life)
    assert average(torch.eye(2)).allclose(torch.eye(2), atol=1e-5)  # of both half: 1.5 in either direction


def test_statistics_are_means_since_the_last_reading():
    statistics = Statistics()
    for value in (1.0, 2.0, 6.0):
        statistics.add({"a": torch.tensor(value)})
    statistics.add({"b": torch.tensor(5.0)})
    assert statistics.read() == {"a": 3.0, "b": 5.0}
    assert statistics.read() == {}


def test_run_folders_are_numbered_and_found(tmp_path):
    first = RunFolder.create(tmp_path, "a b/c")
    second = RunFolder.create(tmp_path, "x")
    assert [first.path.name, second.path.name] == ["00000-a-b-c", "00001-x"]
    for folder in (second, first):
        folder.write_config({"n": folder.path.name})
    assert RunFolder.find(None, tmp_path).path == first.path  # the newest by time, not by number
    assert RunFolder.find("1", tmp_path).path == second.path
    assert RunFolder.find(str(second.path), tmp_path / "elsewhere").path == second.path
    with pytest.raises(GanforgeError, match="run not found"):
        RunFolder.find("7", tmp_path)
    with pytest.raises(GanforgeError, match="no run found"):
        RunFolder.find(None, tmp_path / "nothing")


def test_a_new_run_removes_the_draft_of_one_that_was_killed_before_it_had_a_configuration(tmp_path):
    killed = RunFolder.create(tmp_path, "x").path
    (killed / ".config.json.00000001.ganforge-draft").mkdir()
    (tmp_path / "outside/.y.00000002.ganforge-draft").mkdir(parents=True)
    (tmp_path / "00001-y").symlink_to(tmp_path / "outside")
    assert RunFolder.create(tmp_path, "z").path.name == "00002-z"
    assert sorted(each.name for each in killed.iterdir()) == ["checkpoints", "samples"]
    assert list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("settings", "best", "kept"),
    [
        ({}, None, [450, 500]),
        ({"keep_checkpoints": 1}, None, [500]),
        ({"keep_checkpoints": 3}, 100, [100, 400, 450, 500]),
        ({"keep_images": 200}, None, [200, 400, 450, 500]),
        ({"keep_images": 170, "keep_checkpoints": 1}, 250, [200, 250, 350, 500]),
        ({}, 480, [450, 500]),  # a best one of which there is no checkpoint
    ],
)
def test_the_newest_the_best_and_one_of_each_span_are_kept_however_often_they_are_looked_through(settings, best, kept):
    training = TrainingConfig(**settings)
    paths = []
    for images_seen in range(0, 501, 50):
        paths.append(Path(f"{images_seen:09d}.safetensors"))
        for old in choose_old(paths, training, best):
            paths.remove(old)
    assert [int(path.stem) for path in paths] == kept


def test_checkpoints_come_when_a_multiple_of_their_images_is_reached(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    settings = ["training.images=100", "training.checkpoint_images=30", "training.keep_checkpoints=99"]
    run(registry, images, folder, settings)
    assert [int(path.stem) for path in folder.checkpoint_paths()] == [0, 30, 60, 90, 100]


@pytest.mark.parametrize("row", ["{", "[]", '{"images": "many"}', "{}", "[" * 100_000, "\x00"])
def test_a_damaged_row_of_metrics_is_told_in_words(registry, images, tmp_path, row):
    folder = RunFolder.create(tmp_path, "x")
    run(registry, images, folder, ["training.images=40"])
    with folder.metrics.open("a") as file:
        file.write(row + "\n")
    with pytest.raises(CheckpointError, match="metrics.jsonl: a row is damaged"):
        run(registry, images, folder, ["training.images=60"], resume=True)
