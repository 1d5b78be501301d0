"""A recipe has other settings for a CPU and for few examples; what the user sets wins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge import Recipe
from ganforge.config.schema import check_recipes, resolve
from ganforge.data.pack import open_configured
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.session.situations import fit, limit_resolution
from ganforge.testing import check_recipe

VARIED = Recipe(
    summary="Varied.",
    source="None",
    settings={
        "generator": {"name": "dcgan", "width": 8},
        "discriminator": {"name": "dcgan"},
        "loss": {"name": "nonsat"},
    },
    variants={
        "few": {
            "generator": {"z_dim": 9},
            "discriminator": {"minibatch": "deviation"},
            "augmentations": {"flip": {}},
            "optimizer": {"beta1": 0.25},
        },
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
    config = varied(registry, situations=["few"])
    assert [each.name for each in config.augmentations] == ["flip"]
    assert config.generator.options["z_dim"] == 9
    given = {"optimizer": {"beta1": 0.5}, "augmentations": {}, "generator": {"z_dim": 7}}
    config = varied(registry, given, situations=["few"])
    assert config.augmentations == ()
    assert config.generator.options["z_dim"] == 7
    assert config.tree()["optimizer"]["beta1"] == 0.5


def test_a_network_of_ones_own_gets_no_settings_of_the_one_that_it_replaces(registry):
    own = {"generator": {"name": "mlp"}, "training": {"device": "cpu"}}
    config = varied(registry, own, situations=["few"])
    assert config.generator.options["z_dim"] == 100
    assert (config.discriminator.options["minibatch"], config.training.batch) == ("deviation", 8)


def test_a_stored_configuration_stays(registry):
    config = varied(registry, {"training": {"device": "cuda"}})
    again = resolve(registry, config.tree(), {"training": {"device": "cpu"}}, situations=["few"])
    assert again.generator == config.generator
    assert (again.augmentations, again.training.batch) == (config.augmentations, 64)


def make_folder(folder, count):
    folder.mkdir()
    for index, each in enumerate(np.random.default_rng(0).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(each).save(folder / f"{index}.png")
    return folder


def fit_varied(registry, source, *layers):
    given = [{"recipe": "varied", "data": {"source": str(source)}}, *layers]
    return fit(registry, given, torch.device("cpu"), lambda config: open_configured(config, registry))


def test_many_examples_are_no_situation(registry, tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((5000, 2), dtype=np.float32))
    config, _, chosen = fit_varied(registry, tmp_path / "many.npy")
    assert (config.augmentations, chosen) == ((), [])


def test_what_was_chosen_is_said_as_flags(registry, tmp_path):
    folder = make_folder(tmp_path / "a", 200)
    config, data, chosen = fit_varied(registry, folder)
    flags = "--set generator.z_dim=9 --set discriminator.minibatch=deviation --augment flip --set optimizer.beta1=0.25"
    stop = {"early-stop": {"patience": 200_000, "memorization": 0.2}}
    assert chosen[0] == f"for 200 examples: {flags} --callback early-stop:patience=200000,memorization=0.2"
    assert chosen[1].startswith("expect variations of 200 images")
    assert config == varied(registry, {"data": {"source": str(folder)}, "callbacks": stop}, situations=["few"])
    assert len(data) == 200
    networks = {"generator": {"name": "mlp"}, "discriminator": {"name": "mlp"}}
    own = {"optimizer": {"beta1": 0.5}, "augmentations": {}, "callbacks": {}, **networks}
    assert fit_varied(registry, folder, own).chosen == chosen[1:]


def test_a_run_stops_early_on_a_thousand_images_of_recipes_for_few(registry, tmp_path):
    for count, recipe, stops in ((1001, "varied", False), (1000, "varied", True), (1000, "dcgan", False)):
        np.save(tmp_path / "images.npy", np.zeros((count, 8, 8, 3), dtype=np.uint8))
        fitted = fit_varied(registry, tmp_path / "images.npy", {"recipe": recipe})
        assert [bool(fitted.config.callbacks), len(fitted.chosen) > 1] == [stops, stops]


def test_a_run_on_few_images_is_fitted_and_resumes(tmp_path, capsys):
    small = {"generator.width": 4, "discriminator.width": 4, "training.samples": 4, "training.threads": 1}
    plain = {"training.engine": "eager", "training.precision": "float32", "training.layout": "contiguous"}
    folder = make_folder(tmp_path / "photos", 200)
    run = ganforge.train(data=folder, images=32, device="cpu", settings=small | plain, out=tmp_path / "runs")
    said = capsys.readouterr().err
    assert "for 200 examples: augment=['ada'] callback=['early-stop:patience=200000,memorization=0.2']\n" in said
    assert "expect variations of 200 images" in said
    assert "init_from a run on similar images" in said
    assert run.config["augmentations"].keys() == {"ada"}
    assert run.config["callbacks"].keys() == {"early-stop"}
    resumed = run.resume(images=64)
    assert resumed.config["generator"] == run.config["generator"]
    own = ganforge.train(
        data=folder,
        images=16,
        device="cpu",
        settings=small | plain,
        augment=["flip"],
        callback=["early-stop:patience=5"],
        out=tmp_path / "runs",
    )
    assert own.config["augmentations"].keys() == {"flip"}
    assert own.config["callbacks"]["early-stop"]["patience"] == 5


@pytest.mark.parametrize(
    ("sizes", "settings", "resolution"),
    [
        ([(128, 128)], {}, 64),
        ([(160, 120)], {}, "80x64"),
        ([(64, 64)], {}, None),
        ([(128, 128), (100, 128)], {}, None),
        ([(128, 128)], {"data": {"resolution": 128}}, None),
        ([(128, 128)], {"recipe": "dcgan"}, None),
    ],
)
def test_large_images_are_made_smaller_for_the_default_recipe_on_a_cpu(tmp_path, registry, sizes, settings, resolution):
    for index in range(8):
        Image.new("RGB", sizes[index % len(sizes)]).save(tmp_path / f"{index}.png")
    layers = [{"data": {"source": str(tmp_path)}}, settings]
    assert limit_resolution(resolve(registry, *layers), registry, torch.device("cpu")) == resolution
    assert limit_resolution(resolve(registry, *layers), registry, torch.device("cuda")) is None


def test_data_sets_by_name_keep_their_resolution(registry):
    config = resolve(registry, {"data": {"source": "avatars"}})
    assert limit_resolution(config, registry, torch.device("cpu")) is None


def test_an_unknown_situation_is_named():
    recipe = replace(VARIED, variants={"fwe": {}})
    with pytest.raises(AssertionError, match="variants name no situation: fwe"):
        check_recipe(recipe)
    registry = Registry([*load_plugins(), Plugin("test", "test", "", "ok", parts={"recipe": {"odd": recipe}})])
    assert check_recipes(registry) == [
        "recipe 'odd' of plugin 'test' is invalid: unknown situation 'fwe' (did you mean 'few'?)"
    ]


def test_variants_of_a_recipe_are_checked():
    with pytest.raises(AssertionError, match="settings are invalid: .*wdith"):
        check_recipe(replace(VARIED, variants={"cpu": {"generator": {"wdith": 4}}}))
    check_recipe(VARIED)
