import itertools

import pytest
import torch
from PIL import Image

from ganforge import DataSpec, Discriminator, Generator
from ganforge.builtin.mlp import MLPDiscriminator, MLPGenerator
from ganforge.builtin.packing import PackedMLP
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording.recorder import Recorder
from ganforge.training.recording.sample_grids import (
    BLACK,
    BLUE,
    ORANGE,
    PIXELS,
    ROSE,
    generate_samples,
    paint_samples,
    write_animation,
)
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state

PLANE = DataSpec((2,))


def draw_samples(generator, data, reals, count, seed, judge=None):
    return paint_samples(generate_samples(generator, data, count, seed), data, reals, judge)


MIDDLE = PIXELS // 2
CORNERS = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])


class Judge(Discriminator):
    """A formula for a discriminator."""

    def __init__(self, formula):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.formula = formula
        self.asked = 0

    def forward(self, images, labels=None):
        self.asked += 1
        return self.formula(images, labels)


class Point(Generator):
    """Always makes the same vector."""

    def __init__(self, *vector):
        super().__init__()
        self.z_dim = 1
        self.vector = torch.nn.Parameter(torch.tensor(vector))

    def forward(self, z, labels=None):
        return self.vector.expand(len(z), -1)


def picture(formula, data=PLANE, reals=CORNERS, generator=None):
    judge = None if formula is None else Judge(formula)
    return draw_samples(generator or Point(0.0, 0.0), data, reals, 4, 0, judge)


def closest(pixel):
    """Which side a background pixel is on."""
    rose, blue, white = ((pixel.float() - torch.tensor(each)).norm() for each in (ROSE, BLUE, (250.0, 250.0, 250.0)))
    return min(("rose", rose), ("blue", blue), ("white", white), key=lambda pair: pair[1])[0]


def sides(drawn):
    """Pixels at the middle of the left, right, top and bottom edge."""
    edge = PIXELS - 3
    return [
        closest(drawn[:, row, column]) for row, column in ((MIDDLE, 2), (MIDDLE, edge), (2, MIDDLE), (edge, MIDDLE))
    ]


def test_what_is_judged_real_is_rose_and_what_is_judged_generated_blue():
    assert sides(picture(lambda x, _: 3 * x[:, 0])) == ["blue", "rose", "white", "white"]
    assert sides(picture(lambda x, _: 3 * x[:, 1])) == ["white", "white", "rose", "blue"]
    assert sides(picture(lambda x, _: -3 * x[:, 1])) == ["white", "white", "blue", "rose"]


def test_colours_do_not_depend_on_the_scale_and_the_zero_of_a_critic():
    plain = picture(lambda x, _: x.prod(1)).float()
    for factor, shift in ((1000.0, 5.0), (0.001, -3.0)):
        other = picture(lambda x, _, factor=factor, shift=shift: factor * x.prod(1) + shift).float()
        assert ((plain - other).abs().amax(0) > 20).float().mean() < 0.01  # rounding may move the edge of a band


def test_white_lies_between_real_and_generated_examples():
    drawn = picture(lambda x, _: x[:, 0], reals=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]]))
    unit = (0.5 - -0.15) / 1.3  # generated at 0, most real ones at 1; the frame is that of the real ones
    assert closest(drawn[:, 5, int(unit * PIXELS)]) == "white"
    assert [closest(drawn[:, 5, column]) for column in (2, PIXELS - 3)] == ["blue", "rose"]


def test_points_lie_where_they_should_in_colours_of_their_own():
    for formula in (None, lambda x, _: x[:, 0]):
        drawn = picture(formula, generator=Point(0.5, -0.5))
        low, span = -1 - 0.3, 2 + 0.6
        column, row = int((0.5 - low) / span * PIXELS), PIXELS - 1 - int((-0.5 - low) / span * PIXELS)
        assert drawn[:, row, column].tolist() == list(ORANGE)
        column, row = int((1 - low) / span * PIXELS), PIXELS - 1 - int((-1 - low) / span * PIXELS)
        assert drawn[:, row, column].tolist() == list(BLACK)


def test_without_a_discriminator_the_background_is_one_colour():
    drawn = picture(None).flatten(1).T.unique(dim=0)
    assert len(drawn) == 3


def test_on_a_line_the_judgement_runs_from_left_to_right():
    reals = torch.linspace(0, 1, 50)[:, None]
    drawn = picture(lambda x, _: x[:, 0] - 0.5, DataSpec((1,)), reals, Point(0.5))
    assert [closest(drawn[:, 2, column]) for column in (2, PIXELS - 3)] == ["blue", "rose"]


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)])
def test_only_in_a_plane_is_the_discriminator_asked(shape):
    data, judge = DataSpec(shape), Judge(lambda x, _: x.flatten(1).sum(1))
    reals = torch.randn(10, *shape)
    generator = MLPGenerator(data, z_dim=2, hidden=(4,))
    assert torch.equal(draw_samples(generator, data, reals, 4, 0, judge), draw_samples(generator, data, reals, 4, 0))
    assert judge.asked == 0


@pytest.mark.parametrize("pack", [2, 3, 7])
def test_a_discriminator_of_packs_is_drawn_without_a_background_and_gets_its_mode_back(pack):
    network = PackedMLP(PLANE, pack=pack, hidden=(4,))
    drawn = draw_samples(Point(0.0, 0.0), PLANE, CORNERS, 4, 0, network)
    assert torch.equal(drawn, picture(None))
    assert network.training


@pytest.mark.parametrize("minibatch", ["deviation", "discrimination"])
def test_a_discriminator_that_looks_at_its_batch_is_drawn(minibatch):
    network = MLPDiscriminator(PLANE, hidden=(8,), minibatch=minibatch)
    drawn = draw_samples(Point(0.0, 0.0), PLANE, CORNERS, 4, 0, network)
    assert not torch.equal(drawn, picture(None))


def test_a_conditional_discriminator_is_asked_for_the_likeliest_class():
    data = DataSpec((2,), ("left", "right"))
    drawn = picture(lambda x, labels: x[:, 0] * (2 * labels - 1), data)
    assert sides(drawn)[:2] == ["rose", "rose"]


def test_conditional_networks_are_drawn():
    data = DataSpec((2,), ("a", "b", "c"))
    generator = MLPGenerator(data, z_dim=2, hidden=(4,), conditioning="input")
    for conditioning in ("input", "projection", "auxiliary"):
        network = MLPDiscriminator(data, hidden=(8,), conditioning=conditioning)
        drawn = draw_samples(generator, data, CORNERS, 4, 0, network)
        assert drawn.shape == (3, PIXELS, PIXELS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_logits_that_say_nothing_leave_the_background_white(value):
    drawn = picture(lambda x, _: torch.full((len(x),), value))
    assert torch.equal(drawn, picture(None))


def test_no_gradients_are_kept_for_a_picture():
    kept = set()
    picture(lambda x, _: kept.add(torch.is_grad_enabled()) or x[:, 0])
    assert kept == {False}


@pytest.mark.parametrize("training", [True, False])
def test_drawing_changes_nothing(training):
    network = MLPDiscriminator(PLANE, hidden=(8,), dropout=0.5).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    pictures = [draw_samples(Point(0.0, 0.0), PLANE, CORNERS, 4, 0, network) for _ in range(2)]
    assert torch.equal(*pictures)  # no unit was dropped
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.grad is None and value.requires_grad for value in network.parameters())


def test_a_run_ends_with_the_same_weights_whether_it_draws_or_not(tmp_path, monkeypatch):
    torch.manual_seed(0)
    data = PackedData("test", torch.randn(200, 2), torch.arange(200) % 2, ("a", "b"), "abc")
    settings = ["generator.name=mlp", "discriminator.name=mlp", "generator.hidden=8", "discriminator.hidden=8"]
    settings += ["generator.conditioning=input", "discriminator.conditioning=projection", "discriminator.dropout=0.3"]
    settings += ["training.batch=10", "training.images=100", "training.tick_images=20"]
    registry = Registry.installed()
    digests = []
    for name in ("drawn", "blind"):
        folder = RunFolder.create(tmp_path, name)
        config = resolve(registry, *load_layers(None, None, ["r1"], settings))
        state = build_state(config, registry, data.spec, torch.device("cpu"))
        record = open_recorder(config, registry, data, folder, state)
        watcher = type("Silent", (), {"step": lambda *_: None, "tick": lambda *_: None, "note": lambda *_: None})()
        loop.train(state, Batches(data, 0, torch.device("cpu")), record, config, watcher, EAGER)
        digests.append(read_tensors(folder.checkpoint_path(100))[0])
        pictures = sorted(folder.samples.glob("*.png"))
        assert len(pictures) == (6 if name == "drawn" else 0)
        if pictures:
            with Image.open(pictures[-1]) as last:
                assert last.size == (PIXELS, PIXELS)
                assert len(last.getcolors(PIXELS**2)) > 10  # more than white and the two colors of points
        monkeypatch.setattr(Recorder, "draw", lambda _: {})
        monkeypatch.setattr(Recorder, "animate", lambda _: {})
    drawn, blind = digests
    assert drawn.keys() == blind.keys()
    assert all(torch.equal(drawn[name], blind[name]) for name in drawn)


def test_an_animation_has_at_most_sixty_pictures_from_first_to_last(tmp_path):
    paths = [tmp_path / f"{index:03d}.png" for index in range(90)]
    for index, path in enumerate(paths):
        Image.new("RGB", (8, 8), (index, 2 * index, 0)).save(path)
    write_animation(tmp_path / "all.gif", paths)
    with Image.open(tmp_path / "all.gif") as animation:
        assert animation.n_frames == 60
        shades = []
        for index in range(60):
            animation.seek(index)
            shades.append(animation.convert("RGB").getpixel((0, 0))[0])
    assert (shades[0], shades[-1]) == (0, 89)
    assert all(before < after for before, after in itertools.pairwise(shades))
