"""Steps whose gradients are not finite, and other signs of a run that goes wrong."""

import json

import pytest
import torch

from ganforge import GanforgeError, Loss, Pair, Regularizer
from ganforge.builtin.losses import NonSaturating
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.errors import DivergenceError
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER, Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.health import TICKS, HealthMonitor, measure_diversity
from ganforge.training.recording.recovery import MOST_ROLLBACKS
from ganforge.training.start import open_recorder
from ganforge.training.state import Penalty, build_state
from ganforge.training.steps import read_batch, take_step

CPU = torch.device("cpu")
SMALL = [
    "generator.width=4",
    "discriminator.width=4",
    "training.batch=5",
    "training.tick_images=20",
    "training.samples=4",
]


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(7)
    return PackedData("test", torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8), None, (), "abc")


class Poisoned(NonSaturating):
    """Is not finite for a player at some of its calls."""

    def __init__(self, player, calls, value):
        super().__init__()
        self.player, self.calls, self.value = player, calls, value
        self.count = {"discriminator": 0, "generator": 0}

    def _poison(self, player, loss):
        self.count[player] += 1
        return loss * self.value if player == self.player and self.count[player] - 1 in self.calls else loss

    def discriminator(self, logits: Pair):
        return self._poison("discriminator", super().discriminator(logits))

    def generator(self, logits: Pair):
        return self._poison("generator", super().generator(logits))


class SteepAtOnePoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


class Steep(Loss):
    """Finite, with gradients that are not."""

    def discriminator(self, logits: Pair):
        return SteepAtOnePoint.apply(logits.real.mean() + logits.fake.mean())

    def generator(self, logits: Pair):
        return logits.fake.mean()


def players(registry, images, loss, settings=(), augmentations=()):
    config = resolve(registry, *load_layers(None, None, [], [*SMALL, *settings], augmentations))
    state = build_state(config, registry, images.spec, CPU)
    state.loss = loss
    return config, state


def step(config, state, images, index, engine=EAGER):
    torch.manual_seed(index)
    state.apply_schedules(config.optimizer)
    shown = [read_batch(state, Batches(images, 0, CPU), engine, 5 * index, 5)]
    return {name: value.item() for row in take_step(state, shown, index, engine) for name, value in row.items()}


def snapshot(state, player):
    return {name: each.clone() for name, each in state.tensors().items() if name.startswith((player, "augmentation"))}


def same(now, before):
    """True if nothing has changed; state that Adam creates at its first step is at its start."""
    return all(torch.equal(value, before.get(name, torch.zeros_like(value))) for name, value in now.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_player_whose_loss_is_not_finite_does_not_move_and_goes_on_afterwards(registry, images, player, value):
    config, state = players(registry, images, Poisoned(player, {1}, value), augmentations=["ada"])
    assert step(config, state, images, 0)[f"skipped/{player}"] == 0
    before = snapshot(state, player)
    row = step(config, state, images, 1)
    assert row[f"skipped/{player}"] == 1
    assert same(snapshot(state, player), before)  # weights, batch statistics, Adam's moments and its count of steps
    assert state.streak == 1
    row = step(config, state, images, 2)
    assert row[f"skipped/{player}"] == 0
    assert state.streak == 0
    assert not same(snapshot(state, player), before)
    assert all(each.isfinite().all() for each in state.tensors().values())


def test_the_other_player_steps_as_ever(registry, images):
    config, state = players(registry, images, Poisoned("generator", {0}, float("nan")))
    before = [each.clone() for each in state.discriminator.parameters()]
    step(config, state, images, 0)
    assert not any(torch.equal(*pair) for pair in zip(before, state.discriminator.parameters(), strict=True))


def test_gradients_that_are_not_finite_are_noticed_though_the_loss_is(registry, images):
    config, state = players(registry, images, Steep())
    before = snapshot(state, "discriminator")
    row = step(config, state, images, 0)
    assert row["skipped/discriminator"] == 1
    assert row["skipped/generator"] == 0
    assert abs(row["discriminator/loss"]) < 100
    assert same(snapshot(state, "discriminator"), before)


def test_one_part_of_a_batch_is_enough_to_skip_the_step(registry, images):
    config, state = players(registry, images, Poisoned("discriminator", {3}, float("nan")))
    before = snapshot(state, "discriminator")
    row = step(config, state, images, 0, Engine(ExecutionPlan(accumulate=5), CPU))
    assert row["skipped/discriminator"] == 1
    assert same(snapshot(state, "discriminator"), before)


def test_the_norm_of_the_gradient_is_that_of_all_weights(registry, images):
    config, state = players(registry, images, NonSaturating(), ["optimizer.discriminator_lr=1", "optimizer.beta1=0"])
    state.discriminator_optimizer = torch.optim.SGD(state.discriminator.parameters(), fused=True)
    before = [each.detach().clone() for each in state.discriminator.parameters()]
    row = step(config, state, images, 0)
    rate = state.discriminator_optimizer.param_groups[0]["lr"]
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, state.discriminator.parameters(), strict=True)])
    assert row["gradient/discriminator"] == pytest.approx(moved.norm().item() / rate, rel=1e-4)


class Watcher:
    def __init__(self):
        self.rows, self.notes = [], []

    def step(self, images, seconds):
        pass

    def tick(self, row):
        self.rows.append(row)

    def note(self, text):
        self.notes.append(text)


class NaNFor(Regularizer):
    """Not finite for so many steps, the first of which comes after so many images."""

    def __init__(self, steps, after):
        super().__init__()
        self.left, self.after = steps, after

    def generator(self, step):
        bad = step.images_seen > self.after and self.left > 0
        self.left -= bad
        return step.images.fake.sum() * (float("nan") if bad else 0.0)


def train(registry, images, folder, regularizer, settings=()):
    wanted = [*SMALL, "training.images=600", "training.checkpoint_images=50", *settings]
    config = resolve(registry, *load_layers(None, None, [], wanted))
    state = build_state(config, registry, images.spec, CPU)
    state.penalties.append(Penalty("poison", regularizer, config.optimizer["generator"].lr, 1))
    record = open_recorder(config, registry, images, folder, state)
    watcher = Watcher()
    loop.train(state, Batches(images, 0, CPU), record, config, watcher, EAGER)
    return state, watcher, config


def test_a_run_that_cannot_step_goes_back_once_and_ends_well(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    state, watcher, config = train(registry, images, folder, NaNFor(40, after=203))
    (note,) = watcher.notes
    # Steps fail from the 41st on; the 16th of them in a row ends at the 63rd, which is looked at after the 64th.
    assert "gradients were not finite for 24 consecutive steps, after 320 images" in note
    assert "rolling back to the checkpoint of 200 images with learning rates halved once" in note
    assert state.rollbacks == 1
    assert state.images == 600
    state.apply_schedules(config.optimizer)
    assert state.generator_optimizer.param_groups[0]["lr"] == config.optimizer["generator"].lr.at(0) / 2
    assert all(each.isfinite().all() for each in state.tensors().values())
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [row["images"] for row in rows] == list(range(20, 601, 20))  # each once, in order
    assert read_tensors(folder.checkpoint_path(600))[1]["rollbacks"] == 1


def test_going_back_has_an_end_and_the_last_good_state_is_kept(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    with pytest.raises(DivergenceError, match=f"after {MOST_ROLLBACKS} rollbacks") as error:
        train(registry, images, folder, NaNFor(10**9, after=203))
    assert error.value.code == 3
    newest = folder.checkpoint_paths()[-1]
    assert str(newest) in error.value.hint
    tensors, card = read_tensors(newest)
    assert card["streak"] == 0
    assert all(each.isfinite().all() for each in tensors.values())


def test_a_run_may_be_told_to_stop_instead(registry, images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    with pytest.raises(DivergenceError, match="after 320 images \\("):
        train(registry, images, folder, NaNFor(10**9, after=203), ["training.on_divergence=stop"])
    assert folder.checkpoint_path(200).exists()


def test_a_few_skipped_steps_are_counted_and_told_and_change_nothing_else(registry, images, tmp_path):
    state, watcher, _ = train(registry, images, RunFolder.create(tmp_path, "x"), NaNFor(2, after=203))
    assert watcher.notes == []
    assert state.rollbacks == 0
    told = {row["images"]: row["skipped/generator"] for row in watcher.rows if row["skipped/generator"]}
    assert told == {220: 0.5}
    (row,) = [row for row in watcher.rows if row["images"] == 220]
    assert "50.0% of the generator's steps were skipped: non-finite gradients" in row["warnings"]
    assert row["generator/loss"] == row["generator/loss"]  # the mean of those that were taken


PLUGIN = """
from ganforge import Loss, hookimpl


class Hopeless(Loss):
    '''Never finite.'''

    def discriminator(self, logits):
        return logits.real.mean() / 0.0

    def generator(self, logits):
        return logits.fake.mean() / 0.0


@hookimpl
def ganforge_losses():
    return {"hopeless": Hopeless}
"""


def test_the_command_leaves_with_a_code_of_its_own(run, here, image_folder):
    (here / "hopeless.py").write_text(PLUGIN)
    arguments = ["--plugin", "hopeless.py", "train", "--loss", "hopeless", "--data", image_folder, "--images", "2000"]
    small = ["--batch", "4", "--set", "generator.width=4", "--set", "discriminator.width=4", "--device", "cpu"]
    code, _, err = run(*arguments, *small)
    assert code == 3
    lines = err.strip().splitlines()
    assert lines[-1].startswith("error: training diverged: gradients were not finite")
    assert "Traceback" not in err
    log = (here / "runs" / "00000-rpgan-hopeless-photos" / "log.txt").read_text()
    assert log.count("rolling back to the checkpoint of 0 images") == MOST_ROLLBACKS
    code, _, err = run(*arguments, *small, "--on-divergence", "stop", "--name", "stopped")
    assert code == 3
    assert "rolling back" not in err


# Warnings.


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_diversity_is_the_ratio_of_deviations(scale):
    reals = torch.randn(100, 3, 4, 4)
    assert measure_diversity(reals.mean(0) + scale * (reals - reals.mean(0)), reals) == pytest.approx(scale, abs=1e-6)


def healthy(**changes):
    return {"discriminator/loss": 0.9, "logit_gap": 1.5, "diversity": 0.8, "skipped/generator": 0.0, **changes}


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ({"diversity": 0.02}, "mode collapse: samples vary 2% as much as real examples"),
        ({"discriminator/loss": 0.001, "logit_gap": 14.0}, "the discriminator has won: its loss is 0.001"),
        ({"discriminator/loss": -0.01, "logit_gap": 9.0}, "the discriminator has won"),
    ],
)
def test_a_sign_that_lasts_is_a_warning_until_it_goes(sign, words):
    health = HealthMonitor()
    for _ in range(TICKS - 1):
        assert health.check(healthy(**sign)) == []
    (warning,) = health.check(healthy(**sign))
    assert words in warning
    assert health.check(healthy()) == []
    assert health.check(healthy(**sign)) == []


@pytest.mark.parametrize(
    "row",
    [
        healthy(),
        healthy(**{"discriminator/loss": 0.01, "logit_gap": 0.01}),  # a critic that sees no difference any more
        healthy(**{"discriminator/loss": -20.0, "logit_gap": 20.0}),  # a critic's logits have no scale
        {"images": 5},
    ],
)
def test_what_is_no_sign_is_no_warning(row):
    health = HealthMonitor()
    assert [health.check(row) for _ in range(3 * TICKS)] == [[]] * (3 * TICKS)


@pytest.mark.slow
def test_a_generator_that_does_not_learn_and_makes_one_thing_is_told_in_the_log(run, here):
    code, out, err = run(
        "train", "--arch", "mlp", "--data", "ring-8", "--batch", "64", "--images", "16k", "--device", "cpu",
        "--set", "data.count=2000", "--set", "generator.hidden=32", "--set", "discriminator.hidden=128,128",
        "--engine", "eager", "--set", "training.tick_images=1000", "--set", "optimizer.generator_lr=0",
        "--set", "optimizer.discriminator_lr=0.003", "--set", "discriminator.dropout=0",
    )  # fmt: skip
    assert code == 0, err
    rows = [json.loads(line) for line in (here / out.strip() / "metrics.jsonl").read_text().splitlines()]
    warnings = {text.split(":")[0] for row in rows for text in row.get("warnings", [])}
    assert "the discriminator has won" in warnings
    assert "warning: the discriminator has won" in (here / out.strip() / "log.txt").read_text()
    assert not any("warnings" in row for row in rows[: TICKS - 1])


def test_an_unknown_policy_is_refused(run, here):
    code, _, err = run("train", "--on-divergence", "panic", "--dry-run")
    assert code == 2
    assert "training.on_divergence" in err
    assert len(err.strip().splitlines()) == 1


def test_every_error_has_a_code_that_says_it_failed():
    kinds = [GanforgeError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert all(kind.code in (1, 2, 3) for kind in kinds)
