import math
from pathlib import Path

import pytest
import torch

from ganforge import OptionError
from ganforge.builtin import avatars_parts
from ganforge.builtin.avatars import HAIR_STYLES, PALETTES, Avatars, draw, ganforge_datasets
from ganforge.builtin.avatars_drawing import Pen, box, circle, ellipse, stroke, under

MANY = 20_000


@pytest.fixture(scope="module")
def known():
    return Avatars.attributes(torch.arange(MANY))


def faces(count, **changes):
    attributes = Avatars.attributes(torch.arange(count))
    for name, value in changes.items():
        attributes[name] = torch.full_like(attributes[name], value)
    return attributes


def frame(resolution):
    line = (torch.arange(resolution) + 0.5) * 2 / resolution - 1
    return line.view(1, -1).expand(resolution, -1), line.view(-1, 1).expand(-1, resolution)


def changed_by(name, resolution=64, **changes):
    """Which pixels ``[N, H, W]`` differ between faces without and with an attribute, all else the same."""
    without, with_ = (draw(faces(96, **changes, **{name: value}), resolution) for value in (0, 1))
    return (without != with_).any(1)


def test_hook_offers_avatars():
    assert ganforge_datasets() == {"avatars": Avatars}


def test_face_depends_on_its_index_alone():
    small, large = Avatars(count=40, resolution=32), Avatars(count=1000, resolution=32)
    batch = large.__getitems__([39, 7, 0])
    for index, (image, label) in zip([39, 7, 0], batch, strict=True):
        alone, its_label = small[index]
        assert torch.equal(alone, image)
        assert its_label == label


@pytest.mark.parametrize("resolution", [8, 37, 64])
def test_picture_does_not_depend_on_its_batch(resolution):
    attributes = Avatars.attributes(torch.arange(150))
    together = draw(attributes, resolution)
    for indices in (torch.arange(0, 150, 7), torch.tensor([149]), torch.randperm(150, generator=torch.manual_seed(0))):
        apart = draw({name: values[indices] for name, values in attributes.items()}, resolution)
        assert torch.equal(apart, together[indices])


def test_items_are_uint8_images_with_channels_last():
    image, label = Avatars(count=3, resolution=24)[2]
    assert image.dtype == torch.uint8
    assert image.shape == (24, 24, 3)
    assert isinstance(label, int)
    assert torch.equal(image.permute(2, 0, 1), draw(Avatars.attributes(torch.tensor([2])), 24)[0])


def test_no_faces_make_no_images():
    assert Avatars(count=3).__getitems__([]) == []


@pytest.mark.parametrize("index", [-1, 3])
def test_index_outside_the_count_is_an_index_error(index):
    with pytest.raises(IndexError):
        Avatars(count=3)[index]


def test_iteration_ends_after_count():
    assert len([label for _, label in Avatars(count=3, resolution=8)]) == len(Avatars(count=3)) == 3


def test_same_person_at_every_resolution():
    attributes = Avatars.attributes(torch.arange(48))
    small = draw(attributes, 32).double().flatten(1)
    scaled = torch.nn.functional.avg_pool2d(draw(attributes, 128).double(), 4).flatten(1)
    distance = torch.cdist(scaled, small, p=1) / small.shape[1]
    assert distance.diagonal().max() < 4
    others = distance + torch.diag(torch.full((48,), math.inf))
    assert (distance.diagonal() * 3 < others.min(1).values).all()


def test_labels_and_class_names_agree_with_attributes():
    dataset = Avatars(count=64, resolution=8)
    attributes = dataset.attributes(torch.arange(64))
    for index, (_, label) in enumerate(dataset.__getitems__(list(range(64)))):
        words = {name for name in ("glasses", "hat", "smile") if attributes[name][index] == 1}
        assert set(dataset.class_names[label].split("+")) == (words or {"plain"})


def test_classes_are_balanced_and_independent_of_the_rest(known):
    label = known["smile"] + 2 * known["hat"] + 4 * known["glasses"]
    deviation = math.sqrt(MANY * 1 / 8 * 7 / 8)
    assert (torch.bincount(label, minlength=8) - MANY / 8).abs().max() < 4.5 * deviation
    for bit in ("smile", "hat", "glasses"):
        for name in known.keys() - {bit}:
            pair = torch.stack([known[bit], known[name]]).double()
            assert abs(torch.corrcoef(pair)[0, 1]) < 4.5 / math.sqrt(MANY), (bit, name)
        neighbours = torch.stack([known[bit][:-1], known[bit][1:]]).double()
        assert abs(torch.corrcoef(neighbours)[0, 1]) < 4.5 / math.sqrt(MANY)


def test_choices_are_uniform(known):
    sizes = {name: len(palette) for name, palette in PALETTES.items() if name != "hair_colour"}
    sizes |= {"hair_style": len(HAIR_STYLES), "collar": 3, "glasses_style": 3, "hat_style": 2}
    for name, size in sizes.items():
        counts = torch.bincount(known[name], minlength=size)
        assert len(counts) == size
        assert (counts - MANY / size).abs().max() < 4.5 * math.sqrt(MANY / size), name


def test_every_hair_colour_occurs(known):
    counts = torch.bincount(known["hair_colour"])
    assert len(counts) == len(PALETTES["hair_colour"])
    assert counts.min() > MANY / 100


def test_long_hair_only_where_the_style_allows_and_never_with_a_beard(known):
    styles = {HAIR_STYLES[value] for value in known["hair_style"][known["long_hair"] == 1].unique()}
    assert styles == {"side part", "fringe", "curtain", "curls"}
    assert 0.2 < known["long_hair"].double().mean() < 0.35
    assert not (known["long_hair"] * (known["beard"] + known["moustache"])).any()
    assert 0.15 < known["beard"].double().mean() < 0.3


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("head_width", 0.42, 0.49),
        ("hair_length", 0, 1),
        ("mouth_curve", 0.3, 2.2),
        ("brow_slant", -0.06, 0.24),
        ("shift_x", -0.04, 0.04),
        ("shift_y", -0.03, 0.03),
        ("tilt", -0.05, 0.05),
    ],
)
def test_measures_are_uniform_in_their_documented_range(known, name, low, high):
    unit = (known[name].double() - low) / (high - low)
    assert -1e-6 <= unit.min() < 1e-3
    assert 1 - 1e-3 < unit.max() <= 1 + 1e-6
    assert abs(unit.mean() - 1 / 2) < 4.5 * math.sqrt(1 / 12 / MANY)
    assert abs(unit.var() - 1 / 12) < 4.5 * math.sqrt(1 / 180 / MANY)


def test_every_attribute_shows_in_the_picture():
    attributes = Avatars.attributes(torch.arange(128))
    other = Avatars.attributes(torch.arange(128, 256))
    original = draw(attributes, 32)
    for name in attributes:
        assert not torch.equal(draw({**attributes, name: other[name]}, 32), original), name


def test_glasses_change_only_the_band_of_the_eyes():
    changed, (x, y) = changed_by("glasses"), frame(64)
    assert changed.flatten(1).any(1).all()
    assert not changed[:, (y < -0.27) | (y > 0.29) | (x.abs() > 0.66)].any()


def test_hat_changes_only_what_lies_above_the_eyes():
    changed, (_, y) = changed_by("hat"), frame(64)
    assert changed.flatten(1).any(1).all()
    assert not changed[:, y > -0.14].any()


def test_smile_changes_only_the_mouth():
    changed, (x, y) = changed_by("smile"), frame(64)
    assert changed.flatten(1).any(1).all()
    assert not changed[:, (y < 0.17) | (y > 0.56) | (x.abs() > 0.34)].any()


@pytest.mark.parametrize("name", ["glasses", "hat", "smile"])
def test_classes_can_be_told_apart_at_32_pixels(name):
    without, with_ = (draw(faces(96, **{name: value}), 32).double() for value in (0, 1))
    visible = (without - with_).abs().amax(1) > 40
    assert visible.flatten(1).sum(1).min() >= 4


@pytest.mark.parametrize(
    ("resolution", "pose"),
    [
        (8, {"shift_x": 0, "shift_y": 0, "tilt": 0}),
        (128, {"shift_x": 0, "shift_y": 0, "tilt": 0, "head_width": 0.49}),
        (48, {"shift_x": 0.5, "shift_y": -0.25, "tilt": 0.3}),
    ],
)
def test_windows_cut_nothing_off(monkeypatch, resolution, pose):
    attributes = faces(128, **pose)
    windowed = draw(attributes, resolution)
    whole = [(paint, (-9.0, -9.0, 9.0, 9.0), shown_by) for paint, _, shown_by in avatars_parts.PARTS]
    monkeypatch.setattr("ganforge.builtin.avatars.PARTS", whole)
    assert torch.equal(draw(attributes, resolution), windowed)


def test_shift_moves_the_face_by_halves_of_the_frame():
    still, moved = (draw(faces(8, shift_x=shift, shift_y=0, tilt=0), 64) for shift in (0.0, 4 * 2 / 64))
    assert torch.equal(moved[..., 16:48, 16:56], still[..., 16:48, 12:52])


@pytest.mark.parametrize("radius", [0.1, 0.31, 0.8])
def test_painted_circle_has_the_area_of_a_circle(radius):
    resolution = 64
    x, y = (values.unsqueeze(0) for values in frame(resolution))
    pen = Pen(torch.zeros(1, 3, resolution, resolution), x, y, 2 / resolution, {}, {})
    pen.fill(circle(x - 0.013, y + 0.007, radius), torch.full((3, 1, 1), 255.0))
    area = pen.pixels.double().sum() / 3 / 255 * (2 / resolution) ** 2
    assert area == pytest.approx(math.pi * radius**2, rel=2e-2)


def distances_to(curve_x, curve_y, x, y):
    points, curve = torch.stack([x.flatten(), y.flatten()], 1), torch.stack([curve_x, curve_y], 1)
    return torch.cdist(points.double(), curve.double()).min(1).values.view(x.shape)


def test_box_is_an_exact_signed_distance():
    x, y = frame(40)
    distance, (width, height, corner) = box(x, y, 0.5, 0.3, 0.2), (0.5, 0.3, 0.2)
    angle = torch.linspace(0, 2 * math.pi, 1000, dtype=torch.double)
    side_x, side_y = (width - corner) * angle.cos().sign(), (height - corner) * angle.sin().sign()
    arcs = torch.stack([side_x + corner * angle.cos(), side_y + corner * angle.sin()])
    span = torch.linspace(-1, 1, 500, dtype=torch.double)
    edge_x, edge_y = (width - corner) * span, (height - corner) * span
    full = torch.ones_like(span)
    outline = torch.cat(
        [
            arcs,
            torch.stack([edge_x, height * full]),
            torch.stack([edge_x, -height * full]),
            torch.stack([width * full, edge_y]),
            torch.stack([-width * full, edge_y]),
        ],
        1,
    )
    assert torch.allclose(distance.abs().double(), distances_to(*outline, x, y), atol=4e-3)
    assert (distance < 0).any()
    assert (distance[(x.abs() > width) | (y.abs() > height)] > 0).all()
    assert (distance[(x.abs() < width - corner) & (y.abs() < height)] < 0).all()


@pytest.mark.parametrize("bend", [-3.2, 0.5, 4.0])
def test_stroke_is_a_distance_near_its_line(bend):
    x, y = frame(96)
    along = torch.linspace(-0.2, 0.2, 800, dtype=torch.double)
    exact = distances_to(along, bend * along**2, x, y) - 0.03
    near = exact.abs() < 0.035
    assert near.any()
    assert (stroke(x, y, bend, 0.2, 0.03).double() - exact)[near].abs().max() < 0.012


def test_ellipse_and_parabola_are_distances_to_first_order():
    x, y = frame(64)
    angle = torch.linspace(0, 2 * math.pi, 2000, dtype=torch.double)
    oval = distances_to(0.6 * angle.cos(), 0.4 * angle.sin(), x, y)
    along = torch.linspace(-1.5, 1.5, 3000, dtype=torch.double)
    curve = distances_to(along, 0.8 * along**2 - 0.3, x, y)
    for shape, exact in ((ellipse(x, y, 0.6, 0.4), oval), (under(x, y + 0.3, 0.8), curve)):
        near = exact < 0.04
        assert (shape.abs().double() - exact)[near].abs().max() < 4e-3
    assert (ellipse(x, y, 0.6, 0.4) < 0)[(x / 0.6) ** 2 + (y / 0.4) ** 2 < 1].all()
    assert ((under(x, y + 0.3, 0.8) < 0) == (y > 0.8 * x * x - 0.3)).float().mean() > 0.999


@pytest.mark.parametrize(
    ("options", "value", "nearest"),
    [
        ({"count": 0}, "count=0", "count=1"),
        ({"count": -5}, "count=-5", "count=1"),
        ({"resolution": 7}, "resolution=7", "resolution=8"),
        ({"resolution": 1025}, "resolution=1025", "resolution=1024"),
    ],
)
def test_wrong_options_name_the_value_and_the_nearest_valid_one(options, value, nearest):
    with pytest.raises(OptionError) as caught:
        Avatars(**options)
    assert value in caught.value.message
    assert nearest in caught.value.hint


def test_draw_refuses_a_resolution_out_of_range():
    with pytest.raises(OptionError, match="resolution=4"):
        draw(faces(1), 4)


def test_cache_key_changes_with_the_options_and_with_the_code(monkeypatch, tmp_path):
    key = Avatars(count=10, resolution=16).cache_key()
    assert Avatars(count=10, resolution=16).cache_key() == key
    others = {Avatars(count=11, resolution=16).cache_key(), Avatars(count=10, resolution=17).cache_key()}
    for changed in ("avatars.py", "avatars_drawing.py", "avatars_parts.py"):
        for name in ("avatars.py", "avatars_drawing.py", "avatars_parts.py"):
            code = Path(avatars_parts.__file__).with_name(name).read_text()
            (tmp_path / name).write_text(code + "# changed\n" * (name == changed))
        monkeypatch.setattr("ganforge.builtin.avatars.__file__", str(tmp_path / "avatars.py"))
        others.add(Avatars(count=10, resolution=16).cache_key())
    assert len(others - {key}) == 5
