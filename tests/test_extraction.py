import hashlib
from pathlib import Path

import pytest
import torch
from test_feature_store import Toy, image_set, only_folder, packed, pixels, take

from ganforge import DataSpec, Generator
from ganforge.contract.errors import CheckpointError, PluginError
from ganforge.evaluation.extractors.opening import open_extractor
from ganforge.evaluation.features.extraction import describe_features, fingerprint_of
from ganforge.evaluation.features.store import FeatureFolder
from ganforge.evaluation.subjects.image_sets import DataImages, choose_split
from ganforge.evaluation.subjects.subject import GeneratorSubject, Subject, SubjectImages
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec


class Drawn(Subject):
    """Images that follow from seed, truncation and label."""

    shape, num_classes = (3, 4, 4), 2

    def __init__(self, digest="g"):
        self.about = {"kind": "generator", "name": "drawn", "digest": digest}

    def draw(self, start, count, *, seed, labels, truncation):
        return torch.full((count, 3, 4, 4), seed + start, dtype=torch.uint8)


def test_whatever_decides_features_is_told_apart():
    data, changed = pixels(70), pixels(70)
    changed[33, 2, 1, 3] ^= 1
    data, changed = packed(data), packed(changed)
    everything, labels = torch.arange(70), torch.arange(70) % 2
    split = choose_split(data, "train", 0.3)
    hashed, other_size = Toy(), Toy()
    hashed.weights_sha256, other_size.preprocessing = "0" * 64, "twice as large"
    other_layer, redrawn = Toy(), Drawn()
    other_layer.origin, redrawn.origin = {"options": {"layer": "2"}}, {"options": {"activation": "relu"}}
    cases = [
        (DataImages(data, everything), Toy(), "float32"),
        (DataImages(changed, everything), Toy(), "float32"),
        (DataImages(data, split), Toy(), "float32"),
        (DataImages(data, choose_split(data, "held-out", 0.3)), Toy(), "float32"),
        (DataImages(data, everything.flip(0)), Toy(), "float32"),
        (DataImages(data, everything), Toy(seed=1), "float32"),
        (DataImages(data, everything), hashed, "float32"),
        (DataImages(data, everything), other_size, "float32"),
        (DataImages(data, everything), other_layer, "float32"),
        (DataImages(data, everything), Toy(), "bfloat16"),
        (SubjectImages(Drawn(), 70), Toy(), "float32"),
        (SubjectImages(Drawn("h"), 70), Toy(), "float32"),
        (SubjectImages(redrawn, 70), Toy(), "float32"),
        (SubjectImages(Drawn(), 71), Toy(), "float32"),
        (SubjectImages(Drawn(), 70, seed=1), Toy(), "float32"),
        (SubjectImages(Drawn(), 70, truncation=0.5), Toy(), "float32"),
        (SubjectImages(Drawn(), 70, labels=labels), Toy(), "float32"),
        (SubjectImages(Drawn(), 70, labels=1 - labels), Toy(), "float32"),
    ]
    paths = {FeatureFolder(Path(), describe_features(*case)).path for case in cases}
    assert len(paths) == len(cases)
    same = DataImages(packed(pixels(70)), everything.clone())
    assert describe_features(same, Toy(), "float32") == describe_features(*cases[0])


EXTRACTOR = """
from ganforge import Extractor, hookimpl

class Means(Extractor):
    label, preprocessing = "means", "none"

    def __init__(self, data, *, power: int = 1):
        super().__init__()
        self.power = power

    def forward(self, images):
        return images.float().flatten(2).mean(2) ** self.power, None

@hookimpl
def ganforge_extractors():
    return {"means": Means}
"""


def test_options_and_code_of_an_extractor_change_the_features(tmp_path):
    data = packed(pixels(70))

    def means(text):
        registry = Registry(load_plugins([tmp_path / "means.py"]))
        extractor = open_extractor(text, data.spec, registry, data=lambda: data, cache=tmp_path)
        return take(tmp_path / "cache", DataImages(data, torch.arange(70)), extractor).features

    (tmp_path / "means.py").write_text(EXTRACTOR)
    first = means("means")
    assert torch.equal(means("means:power=2"), first**2)
    # Python compares size and second of a file with its bytecode: another size is noticed within the same second.
    (tmp_path / "means.py").write_text(EXTRACTOR.replace(".mean(2)", ".amax(dim=2)"))
    assert (means("means") > first).all()


def test_options_and_code_of_a_generator_are_part_of_its_images(tmp_path):
    class Plain(Generator):
        z_dim = 1

        def forward(self, z, labels=None):
            return z

    def origin(gain):
        card = {"generator": {"name": "plain", "options": {"gain": gain}}, "data": describe_spec(DataSpec((3, 4, 4)))}
        return GeneratorSubject(Plain(), {**card, "digest": ""}, tmp_path, name="plain").origin

    origins = origin(1), origin(2)
    assert origins[0] != origins[1]
    assert origins[0]["code"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def test_a_changed_weight_changes_the_features(tmp_path):
    images, one, other = image_set(70), Toy(), Toy()
    with torch.no_grad():
        other.weight[3, 2] += 1e-3
    assert fingerprint_of(one) != fingerprint_of(other)
    assert not torch.equal(take(tmp_path, images, one).features, take(tmp_path, images, other).features)
    assert other.shown == 70


# What extractors may not do


class Wrong(Toy):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


OTHER_LENGTH = "gives features or logits of another length"


def rows(images, width=4):
    return images.flatten(1)[:, :width].float()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda images: (rows(images)[0], None), r"gives \[4\] as features of 64 images"),
        (lambda images: (rows(images)[1:], None), r"gives \[63, 4\] as features of 64 images"),
        (lambda images: (rows(images, 1), None), r"gives \[64, 1\] as features"),
        (lambda images: (rows(images), images.float()), r"gives \[64, 3, 4, 4\] as logits"),
        (lambda images: (rows(images).numpy(), None), "gives ndarray as features"),
        (lambda images: (None, None), "gives NoneType as features"),
        (lambda images: rows(images), "fails for images .*ValueError"),
        (lambda images: (rows(images) @ torch.ones(3, 3), None), "fails for images .*RuntimeError"),
        (
            lambda images: (rows(images, 4 if len(images) == 64 else 5), None),
            OTHER_LENGTH,
        ),
        (
            lambda images: (rows(images), rows(images) if len(images) == 64 else None),
            OTHER_LENGTH,
        ),
    ],
)
def test_an_extractor_that_breaks_its_contract_is_named_in_one_line(tmp_path, answer, said):
    with pytest.raises(PluginError, match=f"extractor 'toy' {said}") as caught:
        take(tmp_path, image_set(100), Wrong(answer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["features", "logits"])
def test_numbers_that_are_not_finite_are_refused_and_not_kept(tmp_path, bad, name):
    def answer(images):
        wrong = rows(images).index_fill(0, torch.tensor([2]), bad)
        return (wrong, None) if name == "features" else (rows(images), wrong)

    with pytest.raises(CheckpointError, match=f"'toy' gives {name} that are not finite") as caught:
        take(tmp_path, image_set(100), Wrong(answer))
    assert "\n" not in str(caught.value)
    assert not (only_folder(tmp_path) / "manifest.json").exists()


class Probe(Toy):
    """Notes what it runs under."""

    def forward(self, images):
        self.precision, self.is_training = torch.backends.cudnn.conv.fp32_precision, self.training
        return super().forward(images)


def test_features_are_full_float32_inside_autocast_and_where_tf32_is_allowed(tmp_path):
    probe, images, before = Probe().train(), image_set(70), torch.backends.cudnn.conv.fp32_precision
    plain = take(tmp_path / "plain", images)
    with torch.autocast("cpu", torch.bfloat16):
        inside = take(tmp_path / "inside", images, probe)
    assert torch.equal(inside.features, plain.features)
    assert (probe.precision, probe.is_training, torch.backends.cudnn.conv.fp32_precision) == ("ieee", False, before)
    reduced = take(tmp_path / "plain", images, dtype="bfloat16")
    torch.testing.assert_close(reduced.features, plain.features, rtol=0.05, atol=0.05)
    assert not torch.equal(reduced.features, plain.features)
