"""Snapshots of R3GAN become runs that compute the same, and what is unsupported is refused by name."""

import pytest
import snapshots
import torch
from ganforge import CheckpointError
from ganforge.plugins.registry import Registry
from ganforge.session.importing import import_file
from ganforge.testing import check_importer

from ganforge_r3gan import R3GANDiscriminator, R3GANGenerator, R3GANImporter

VARIANTS = {
    "narrow at the largest": {},
    "wide everywhere": {"widths": (8, 8, 8, 8, 8)},
    "as wide as in the paper at 256": {"widths": (16, 16, 16, 16, 8, 4, 2), "blocks": 1, "expansion": 2},
    "classes": {"classes": 4},
    "gray, other groups": {"colors": 1, "group": 2, "expansion": 3, "widths": (4, 2)},
}


def write(path, *, options=None, **content):
    """A snapshot of random networks; G and G_ema differ in their weights."""
    torch.manual_seed(0)
    options = options or {}
    networks = {name: snapshots.generator(**options) for name in ("G", "G_ema")}
    networks["D"] = snapshots.discriminator(**options)
    return snapshots.write(path, **{**networks, **content}), networks


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_and_logits_are_those_of_the_file(tmp_path, variant):
    options = VARIANTS[variant]
    path, theirs = write(tmp_path / "snapshot.pkl", options=options)
    found = R3GANImporter().read(path)
    generator = R3GANGenerator(found.data, **found.options).eval()
    own = dict(found.settings["discriminator"])
    assert own.pop("name") == found.generator == "r3gan"
    judge = R3GANDiscriminator(found.data, **own).eval()
    judge.load_state_dict(found.players["discriminator"])
    z, count = torch.randn(4, 5), options.get("classes", 0)
    labels = torch.arange(4) % count if count else None
    one_hot = torch.eye(count, dtype=torch.float64)[labels] if count else None
    with torch.no_grad():
        for name, weights in (("G_ema", found.weights), ("G", found.players["generator"])):
            generator.load_state_dict(weights)
            images = snapshots.draw(theirs[name], z.double(), one_hot)
            assert (generator(z, labels) - images).abs().max() < 1e-5 * images.abs().max()
        logits = snapshots.judge(theirs["D"], images, one_hot)
        assert (judge(images.float(), labels) - logits).abs().max() < 1e-5 * logits.abs().max()


def test_a_run_is_made_whose_settings_are_those_of_the_end_of_training(tmp_path):
    path, _ = write(tmp_path / "snapshot.pkl", options={"classes": 3})
    folder, found = import_file(path, tmp_path / "runs", Registry.installed(), form=None, options={}, name=None)
    config = folder.read_config()
    assert config["recipe"] == config["generator"]["name"] == config["discriminator"]["name"] == "r3gan"
    assert config["regularizers"]["r1"]["weight"] == config["regularizers"]["r2"]["weight"] == 0.005
    assert folder.checkpoint_paths()
    assert "labels are classes 0 to 2" in " ".join(found.notes)


def test_a_generator_alone_is_imported(tmp_path):
    path, _ = write(tmp_path / "snapshot.pkl", G=None, D=None)
    found = R3GANImporter().read(path)
    assert not found.players
    assert "no discriminator D" in " ".join(found.notes)


def change(network, path, value):
    *parts, name = f"Model.{path}".split(".")
    for each in parts:
        network = network.modules[each]
    network.tensors[name] = value


BLOCK = "MainLayers.1.Layers.1"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{BLOCK}.LinearLayer2.Layer.weight", torch.zeros(16, 2, 3, 3), "LinearLayer2.weight has shape (16, 2, 3, 3)"),
        (f"{BLOCK}.LinearLayer2.Layer.weight", torch.zeros(16, 4, 5, 5), "but (16, 4, 3, 3) fits the rest"),
        (f"{BLOCK}.LinearLayer1.Layer.weight", torch.zeros(16, 5, 1, 1), "channels [8, 5, 8, 4] are unsupported"),
        (f"{BLOCK}.NonLinearity1.Bias", torch.zeros(3), "NonLinearity1.Bias has shape (3,)"),
        (f"{BLOCK}.query", torch.zeros(3), "has 'MainLayers.1.Layers.1.query', which R3GAN does not have"),
        ("MainLayers.1.Layers.0.Resampler.Kernel", torch.ones(4, 4), "another filter than 1, 3, 3, 1"),
        ("AggregationLayer.Layer.weight", torch.zeros(3), "no tensor 'AggregationLayer.weight' with 4 dimensions"),
        ("MainLayers.0.Layers.1.LinearLayer1.Layer.weight", torch.zeros(0, 8, 1, 1), "with 4 dimensions"),
    ],
)  # fmt: skip
def test_what_is_unsupported_is_refused_by_name(tmp_path, path, value, said):
    file, networks = write(tmp_path / "snapshot.pkl")
    change(networks["G_ema"], path, value)
    snapshots.write(file, **networks)
    with pytest.raises(CheckpointError) as caught:
        R3GANImporter().read(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_of_different_sizes_are_refused(tmp_path):
    path, _ = write(tmp_path / "snapshot.pkl", D=snapshots.discriminator((8, 8, 8)))
    with pytest.raises(CheckpointError, match="D judges other images"):
        R3GANImporter().read(path)


def test_modules_that_occur_many_times_are_refused(tmp_path):
    bomb = snapshots.Module("R3GAN.Networks.Leaf")
    for _ in range(20):
        bomb = snapshots.Module("R3GAN.Networks.Bomb", **{f"m{index}": bomb for index in range(50)})
    path, networks = write(tmp_path / "snapshot.pkl")
    networks["G_ema"].modules["Model"].modules["bomb"] = bomb
    snapshots.write(path, **networks)
    with pytest.raises(CheckpointError, match="occurs twice"):
        R3GANImporter().read(path)


def test_the_importer_keeps_the_contract(tmp_path):
    path, _ = write(tmp_path / "snapshot.pkl")
    assert check_importer(R3GANImporter, path).data.shape == (3, 32, 32)
