import json
import os

import pytest
import torch

from ganforge import OptionError
from ganforge.config import schema
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers, merge, parse_part, parse_setting, read_config
from ganforge.plugins.registry import Registry


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


def test_the_command_line_goes_over_the_file_and_the_file_over_the_recipe(registry, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('recipe = "dcgan"\n[training]\nbatch = 16\nseed = 3\n[optimizer]\nbeta1 = 0.25\n')
    config = resolve(registry, *load_layers(file, None, ["r1:every=4"], ["training.batch=8", "generator.width=16"]))
    assert (config.training.batch, config.training.seed) == (8, 3)
    assert config.optimizer["generator"].part.group(0) == {"betas": (0.25, 0.999)}
    assert config.generator.options["width"] == 16
    assert [(each.name, each.weight.at(0), each.every) for each in config.regularizers] == [("r1", 10.0, 4)]


def test_a_resolved_configuration_resolves_to_itself(registry):
    config = resolve(registry, *load_layers(None, None, ["r1:weight=2"], ["training.images=5k", "data.resolution=32"]))
    assert resolve(registry, json.loads(json.dumps(config.tree()))) == config


@pytest.mark.parametrize(
    ("given", "kept"),
    [("256x192", "256x192"), (" 256 X 192", "256x192"), ("64x64", 64), ("64", 64), (64, 64), ("none", None)],
)
def test_a_resolution_is_an_edge_or_width_and_height(registry, given, kept, tmp_path):
    config = resolve(registry, {"data": {"resolution": given}})
    assert config.data.resolution == kept
    assert config.tree()["data"]["resolution"] == kept
    assert resolve(registry, json.loads(json.dumps(config.tree()))) == config
    assert resolve(registry, *load_layers(settings=[f"data.resolution={given}"])) == config
    (tmp_path / "run.toml").write_text(f"[data]\nresolution = {json.dumps(given)}\n")
    assert resolve(registry, read_config(tmp_path / "run.toml")) == config


@pytest.mark.parametrize("recipe", Registry.installed().names("recipe"))
def test_a_configuration_that_is_read_back_is_written_as_it_was(registry, recipe):
    text = json.dumps(resolve(registry, {"recipe": recipe}).tree())
    assert json.dumps(resolve(registry, json.loads(text)).tree()) == text


@pytest.mark.parametrize(
    ("recipe", "cuda", "given", "batch"),
    [
        ("dcgan", False, {}, 16),
        ("dcgan", False, {"batch": 128}, 128),
        ("dcgan", True, {}, 128),
        ("dcgan", True, {"device": "cpu"}, 16),
        ("dcgan", False, {"device": "cuda"}, 128),
        ("rpgan", False, {}, 16),
        ("rpgan", True, {}, 64),
        ("cdcgan", False, {}, 32),
    ],
)
def test_the_batch_of_a_recipe_may_depend_on_the_device(registry, monkeypatch, recipe, cuda, given, batch):
    there = {False: None, True: torch.device("cuda")}
    monkeypatch.setattr(schema, "find_accelerator", lambda: there[cuda])
    config = resolve(registry, {"recipe": recipe, "training": given})
    assert config.training.batch == batch
    # A resume begins with what the run recorded, on whatever device.
    monkeypatch.setattr(schema, "find_accelerator", lambda: there[not cuda])
    for device in ("cpu", "cuda", "auto"):
        assert resolve(registry, config.tree(), {"training": {"device": device}}).training.batch == batch


def test_a_run_that_names_no_recipe_takes_the_default_one(registry):
    default = resolve(registry).tree()
    regularizers = ["r1:weight=1,every=4", "r2:weight=1,every=4"]
    settings = ["discriminator.normalization=none", "optimizer.beta1=0", "training.batch=16"]
    settings += ["optimizer.generator_lr=1e-3", "optimizer.discriminator_lr=5e-4"]
    settings += [
        f"{player}.{each}" for player in ("generator", "discriminator") for each in ("width=32", "max_width=256")
    ]
    flags = {"recipe": "dcgan", "loss": {"name": "rpgan"}, "training": {"device": "cpu"}}
    flags["generator"] = {"name": "resnet"}
    spelled = resolve(registry, *load_layers(None, flags, regularizers, settings)).tree()
    assert default.pop("recipe") == "rpgan" != spelled.pop("recipe")
    assert resolve(registry, {"training": {"device": "cpu"}}).tree() == {"recipe": "rpgan", **spelled}
    assert default["regularizers"] == spelled["regularizers"]


def test_settings_belong_to_the_parts_that_the_flags_name(registry):
    flags = {"data": {"source": "ring-8"}, "generator": {"name": "mlp"}}
    config = resolve(registry, *load_layers(None, flags, [], ["data.count=50", "generator.hidden=7"]))
    assert (config.data.options["count"], config.generator.options["hidden"]) == (50, (7,))


def test_another_part_drops_the_options_of_the_one_before():
    tree = merge({"generator": {"name": "dcgan", "width": 96}}, {"generator": {"name": "mlp"}})
    assert tree["generator"] == {"name": "mlp"}
    assert merge({"generator": {"name": "dcgan", "width": 96}}, {"generator": {"width": 8}})["generator"]["width"] == 8


def test_a_budget_replaces_the_whole_budget_below_it():
    below = {"training": {"minutes": 4, "batch": 8}}
    assert merge(below, {"training": {"images": 100}})["training"] == {"batch": 8, "images": 100}
    assert merge(below, {"training": {"seed": 1}})["training"] == {"minutes": 4, "batch": 8, "seed": 1}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"recipe": "dcgann"}, "unknown recipe 'dcgann' .*'dcgan'"),
        ({"trainin": {}}, "unknown section 'trainin'.*'training'"),
        ({"skip_bad": True}, "unknown section 'skip_bad'.*did you mean 'data.skip_bad'"),
        ({"training": 3}, "section 'training' .* must be a table"),
        ({"training": {"bacth": 3}}, "training has no setting 'bacth' .*'batch'"),
        ({"training": {"batch": 0}}, "training.batch: 0 is too small .*least is 1"),
        ({"training": {"batch": "many"}}, "training.batch: 'many' is not a whole number"),
        ({"training": {"minutes": 0}}, "training.minutes: 0 is too small"),
        ({"training": {"seed": -1}}, "training.seed: -1 is too small"),
        ({"training": {"device": "gpu"}}, "training.device: 'gpu' is invalid"),
        ({"optimizer": {"beta1": 1.0}}, "beta1=1 must be .*below 1"),
        ({"optimizer": {"generator_lr": "nan"}}, "optimizer.generator_lr: 'nan' is not a number or schedule"),
        ({"generator": {"name": "dcgna"}}, "unknown generator 'dcgna' .*'dcgan'"),
        ({"generator": {"widht": 3}}, "generator 'resnet' has no option 'widht' .*'width'"),
        ({"generator": {"conditioning": "labels"}}, "option 'conditioning': 'labels' is invalid"),
        ({"loss": {"name": "nonsatt"}}, "unknown loss 'nonsatt' .*'nonsat'"),
        ({"regularizers": {"r3": {}}}, "unknown regularizer 'r3' .*gp, .*lecam, .*r1.*--plugin FILE.py"),
        ({"regularizers": {"r1": {"weight": -1}}}, "regularizers.r1.weight: -1 is too small"),
        ({"regularizers": {"r1": {"every": 0}}}, "regularizers.r1.every: 0 is too small"),
        ({"regularizers": {"r1": {"gamma": 1}}}, "regularizer 'r1' has no option 'gamma'"),
        ({"regularizers": {"r1": 5}}, "regularizers.r1 must be a table"),
        ({"data": {"resolution": 0}}, "data.resolution: 0 is too small"),
        ({"data": {"resolution": 10**6}}, "data.resolution: 1e\\+06 is too large"),
        ({"data": {"resolution": "64x0"}}, "data.resolution: 0 is too small"),
        ({"data": {"resolution": "99999x64"}}, "data.resolution: 99999 is too large"),
        (
            {"data": {"resolution": "wide"}},
            "data.resolution: 'wide' is not a resolution .*256x192 for 256 pixels",
        ),
        ({"data": {"resolution": "64x"}}, "data.resolution: '64x' is not a resolution .*256x192"),
        ({"data": {"resolution": [64, 48]}}, "data.resolution: .* is not a resolution"),
        ({"data": {"source": 5}}, "data.source: 5 is not text"),
        ({"training": {"samples": 10**9}}, "training.samples: 1e\\+09 is too large"),
        ({"training": {"threads": 10**9}}, "training.threads: 1e\\+09 is too large"),
        ({"training": {"d_steps": 10**9}}, "training.d_steps: 1e\\+09 is too large"),
        ({"training": {"eval_samples": 10**9}}, "training.eval_samples: 1e\\+09 is too large"),
        ({"training": {"batch": 10**30}}, "is not a whole number"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(registry, layer, message):
    with pytest.raises(OptionError, match=message) as error:
        resolve(registry, layer)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    for name, text in (("run.toml", "[training]\nbatch = 8\n"), ("run.json", '{"training": {"batch": 8}}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert read_config(tmp_path / name) == {"training": {"batch": 8}}


def test_what_is_no_file_or_too_large_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # a pipe without a writer, so reading it would block
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe", "large", "."):
        with pytest.raises(OptionError, match="cannot be read"):
            read_config(tmp_path / name)


@pytest.mark.parametrize("text", ["width=96", "generator.width", "generator.=3", ".width=3", "=", "", "a.b.c.d=3"])
def test_a_setting_of_another_form_is_refused(text):
    with pytest.raises(OptionError, match=r"section\.option=value"):
        parse_setting(text)


def test_a_setting_without_its_section_is_suggested_with_it():
    with pytest.raises(OptionError, match="did you mean 'data.skip_bad'"):
        parse_setting("skip_bad=true")
    with pytest.raises(OptionError, match="such as --set generator.width=96"):
        parse_setting("training.batch")  # the value is missing


def test_a_setting_may_hold_equals_signs_and_commas():
    assert parse_setting("data.root=a=b,c") == {"data": {"root": "a=b,c"}}


@pytest.mark.parametrize("text", ["r1:weight", "r1:=3"])
def test_a_regularizer_of_another_form_is_refused(text):
    with pytest.raises(OptionError, match="option=value"):
        parse_part(text, "regularizers", "--reg")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.toml", None, "no such file"),
        ("bad.toml", "batch = = 3", "invalid TOML"),
        ("bad.json", "{", "invalid JSON"),
        ("list.json", "[1]", "not a table"),
        ("latin.toml", b"# \xe9\n", "cannot be read"),
        ("deep.toml", "a = " + "[" * 100_000, "nested too deeply"),
        ("deep.json", '{"a":' * 100_000, "nested too deeply"),
        ("deep-but-whole.toml", "a = " + "[" * 300 + "]" * 300, "nested too deeply"),
        ("digits.toml", "a = " + "9" * 5000, "invalid TOML"),
        ("digits.json", '{"a": ' + "9" * 5000 + "}", "invalid JSON"),
        ("nul\0.toml", None, "no such file"),
        ("n" * 300 + ".toml", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(OptionError, match=message):
        read_config(path)
