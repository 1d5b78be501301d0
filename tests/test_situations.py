"""A recipe has other settings for a CPU, classes and few examples; what the user sets wins."""

import numpy as np
import pytest
from PIL import Image

import ganforge
from ganforge import Recipe
from ganforge.config.schema import resolve
from ganforge.data.pack import open_data
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.session.situations import find_situations, fit_recipe

VARIED = Recipe(
    summary="Varied.",
    source="None",
    settings={
        "generator": {"name": "dcgan", "width": 8},
        "discriminator": {"name": "dcgan"},
        "loss": {"name": "nonsat"},
    },
    variants={
        "few": {"augmentations": {"flip": {}}, "optimizer": {"beta1": 0.25}},
        "classes": {"generator": {"conditioning": "norm"}, "discriminator": {"conditioning": "projection"}},
        "cpu": {"training": {"batch": 8}, "generator": {"width": 4}},
    },
)


@pytest.fixture(scope="module")
def registry():
    return Registry([*load_plugins(), Plugin("test", "test", "", "ok", parts={"recipe": {"varied": VARIED}})])


def varied(registry, *layers, situations=()):
    return resolve(registry, {"recipe": "varied"}, *layers, situations=situations)


def test_the_device_selects_settings(registry):
    on_cpu = varied(registry, {"training": {"device": "cpu"}})
    assert (on_cpu.training.batch, on_cpu.generator.options["width"]) == (8, 4)
    elsewhere = varied(registry, {"training": {"device": "cuda"}})
    assert (elsewhere.training.batch, elsewhere.generator.options["width"]) == (64, 8)


def test_situations_add_up_and_the_user_wins(registry):
    config = varied(registry, situations=["few", "classes"])
    assert [each.name for each in config.augmentations] == ["flip"]
    assert config.generator.options["conditioning"] == "norm"
    given = {"optimizer": {"beta1": 0.5}, "augmentations": {}, "generator": {"conditioning": "none"}}
    config = varied(registry, given, situations=["few", "classes"])
    assert config.augmentations == ()
    assert config.generator.options["conditioning"] == "none"
    assert config.tree()["optimizer"]["beta1"] == 0.5


def test_settings_for_a_recipes_networks_are_not_given_to_others(registry):
    config = varied(registry, {"generator": {"name": "mlp"}}, situations=["classes"])
    assert config.discriminator.options["conditioning"] == "none"


def test_a_stored_configuration_stays(registry):
    config = varied(registry, {"training": {"device": "cuda"}})
    again = resolve(registry, config.tree(), {"training": {"device": "cpu"}}, situations=["few", "classes"])
    assert again.generator == config.generator
    assert (again.augmentations, again.training.batch) == (config.augmentations, 64)


def make_folder(folder, per_class, classes=2):
    pixels = np.random.default_rng(0).integers(0, 255, (per_class, 8, 8, 3), dtype=np.uint8)
    for name in range(classes):
        (folder / str(name)).mkdir(parents=True)
        for index, each in enumerate(pixels):
            Image.fromarray(each).save(folder / str(name) / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("per_class", "found"), [(99, {"few": "198 examples"}), (100, {"classes": "2 classes", "few": "200 examples"})]
)
def test_situations_of_data(tmp_path, per_class, found):
    assert find_situations(open_data(str(make_folder(tmp_path / "a", per_class)), cache=tmp_path / "cache")) == found


def test_many_examples_without_classes_are_no_situation(tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((5000, 2), dtype=np.float32))
    assert find_situations(open_data(str(tmp_path / "many.npy"), cache=tmp_path / "cache")) == {}


def test_what_was_chosen_is_said_as_flags(registry, tmp_path):
    data = open_data(str(make_folder(tmp_path / "a", 100)), cache=tmp_path / "cache")
    config, lines = fit_recipe(registry, [{"recipe": "varied"}], data)
    assert lines == [
        "for 2 classes: --set generator.conditioning=norm --set discriminator.conditioning=projection",
        "for 200 examples: --augment flip --set optimizer.beta1=0.25",
    ]
    assert config == varied(registry, situations=["few", "classes"])
    _, lines = fit_recipe(registry, [{"recipe": "varied", "optimizer": {"beta1": 0.5}, "augmentations": {}}], data)
    assert len(lines) == 1


def test_a_run_on_few_images_of_classes_is_fitted_and_resumes(tmp_path, capsys):
    small = {"generator.width": 4, "discriminator.width": 4, "training.samples": 4, "training.threads": 1}
    plain = {"training.engine": "eager", "training.precision": "float32", "training.layout": "contiguous"}
    folder = make_folder(tmp_path / "photos", 100)
    run = ganforge.train(data=folder, images=32, device="cpu", settings=small | plain, out=tmp_path / "runs")
    said = capsys.readouterr().err
    assert "for 2 classes: --set generator.conditioning=norm --set discriminator.conditioning=projection" in said
    assert "for 200 examples: --augment ada\n" in said
    assert run.config["augmentations"].keys() == {"ada"}
    resumed = run.resume(images=64)
    assert resumed.config["generator"] == run.config["generator"]
    own = ganforge.train(
        data=folder,
        images=16,
        device="cpu",
        settings=small | plain | {"generator.conditioning": "none", "discriminator.conditioning": "none"},
        augment=["flip"],
        out=tmp_path / "runs",
    )
    assert own.config["augmentations"].keys() == {"flip"}
    assert own.config["generator"]["conditioning"] == "none"
