"""A new run starts from the layers of another that agree, at other resolutions and numbers of classes too."""

import json
import re

import pytest
import torch
from torch import nn

import ganforge
from ganforge import CheckpointError, DataSpec, Recipe
from ganforge.config.schema import resolve
from ganforge.data.pack import open_configured
from ganforge.data.store import PackedData
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors, save_generator, save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.session.situations import fit
from ganforge.training.state import build_state
from ganforge.training.transfer import init_from, match_layers

CPU = torch.device("cpu")

NETWORKS = {
    "rpgan": ("resnet dcgan", {}, {"normalization": "none"}),
    "dcgan": ("dcgan", {}, {}),
    "nearest": ("dcgan", {"upsampling": "nearest"}, {}),
    "spectral": ("dcgan", {}, {"normalization": "spectral", "minibatch": "deviation"}),
    "stylegan": ("stylegan", {}, {"minibatch": "deviation"}),
    "stylegan2": ("stylegan2", {}, {"minibatch": "deviation"}),
    "pggan": ("pggan", {"growing": False}, {"growing": False}),
}

PLAIN = [
    "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous",
    "--set", "training.threads=1", "--set", "training.samples=4", "--batch", "8",
]  # fmt: skip


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


def build(registry, kind, networks, size, width, classes=()):
    names, *options = NETWORKS[networks]
    name = names.split()[0 if kind == "generator" else -1]
    given = options[kind == "discriminator"] | {"width": width, "max_width": 16}
    torch.manual_seed(size)
    return registry.build(kind, name, given, DataSpec((3, size, size), classes))


def sizes_of_maps(network, *shape):
    """Return the height of each layer's output by its name, as seen while the network runs; 1 for vectors."""
    seen = {}
    for name, module in network.named_modules():
        if name and "parametrizations" not in name and [*module.parameters()]:
            module.register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: out.shape[2] if out.dim() == 4 else 1})
            )
    network.eval()(torch.zeros(2, *shape))
    return seen


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize(("small", "large"), [(16, 32), (16, 64)])
def test_at_another_resolution_layers_keep_the_size_of_their_maps(registry, networks, kind, small, large):
    before, after = (build(registry, kind, networks, *each) for each in ((small, 8), (large, 8 * small // large)))
    sizes, wanted = (
        sizes_of_maps(network, *([network.z_dim] if kind == "generator" else (3, edge, edge)))
        for network, edge in ((before, small), (after, large))
    )
    given, own = before.state_dict(), after.state_dict()
    match = match_layers(own, given, from_end=kind == "discriminator")
    names = {id(tensor): name for name, tensor in given.items()}
    compared = set()
    for name, tensor in match.weights.items():
        ours, theirs = (each.split(".parametrizations")[0] for each in (name, names[id(tensor)]))
        ours, theirs = (each if each in wanted | sizes else each.rpartition(".")[0] for each in (ours, theirs))
        if ours in wanted:
            assert sizes[theirs] == wanted[ours], (name, theirs)
            compared.add(wanted[ours])
    assert 4 in compared
    assert len(compared) > 1
    back = match_layers(given, own, from_end=kind == "discriminator")
    assert {names[id(tensor)] for tensor in match.weights.values()} == back.weights.keys()
    assert len(match.taken) == len(back.taken)


def test_all_of_an_equal_network_is_taken(registry):
    for networks in NETWORKS:
        for kind in ("generator", "discriminator"):
            first, second = (build(registry, kind, networks, 16, 4).state_dict() for _ in range(2))
            match = match_layers(first, second, from_end=kind == "discriminator")
            assert (match.weights.keys(), match.new) == (first.keys(), ())


def test_a_layer_is_taken_whole_or_not_at_all():
    own = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.BatchNorm1d(2)).state_dict()
    given = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2, bias=False), nn.BatchNorm1d(2)).state_dict()
    match = match_layers(own, given)
    assert (match.taken, match.new) == (("2",), ("0", "1"))
    assert match.weights.keys() == {name for name in own if name.startswith("2.")}


def state_of(registry, recipe="rpgan", size=16, classes=(), width=4, **sections):
    tree = {"recipe": recipe, "training": {"batch": 4}, **sections}
    for kind in ("generator", "discriminator"):
        tree[kind] = {"width": width, "max_width": 8, **sections.get(kind, {})}
    data = PackedData("test", torch.zeros(8, 3, size, size, dtype=torch.uint8), None, (), "abc")
    spec = DataSpec(data.spec.shape, classes)
    return build_state(resolve(registry, tree), registry, spec, CPU)


def vary(state):
    """Give every tensor of the networks values of its own, as training does."""
    torch.manual_seed(1)
    for name in ("generator", "discriminator", "average"):
        for tensor in state.modules()[name].state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    return state


def test_other_classes_leave_all_but_their_own_layers(registry, tmp_path):
    path = tmp_path / "x.safetensors"
    source = vary(state_of(registry, "projection", classes=("a", "b")))
    target = state_of(registry, "projection", classes=("a", "b", "c"))
    said = init_from(target, path, source.tensors(), {"kind": "checkpoint", "images": 500})
    before, after = source.tensors(), target.tensors()
    new = {name for name in after if after[name].shape != before[name].shape}
    assert {name.split("/")[1].split(".")[0] for name in new if name.startswith("discriminator")} == {"projection"}
    for name in after.keys() - new:
        if name.split("/")[0] in ("generator", "discriminator", "average"):
            assert torch.equal(after[name], before[name]), name
    assert said.startswith(f"initialized from {path}, which has seen 500 images: generator ")
    assert re.search(r"discriminator (\d+) of (\d+) layers; new: generator layers.1.scale", said)
    assert "discriminator projection" in said
    assert "average" not in said


def test_what_has_no_layer_in_common_is_refused(registry, tmp_path):
    source = state_of(registry, "stylegan2")
    with pytest.raises(CheckpointError, match="no layer agrees with this run's networks in name and shape"):
        init_from(state_of(registry), tmp_path / "x", source.tensors(), {"kind": "checkpoint"})


def test_weights_that_are_not_finite_are_refused(registry, tmp_path):
    tensors = state_of(registry).tensors()
    tensors["discriminator/layers.0.weight"][0] = torch.nan
    with pytest.raises(CheckpointError, match=r"not finite \(NaN or infinite\) in 'layers.0.weight'"):
        init_from(state_of(registry), tmp_path / "x", tensors, {"kind": "checkpoint"})


def test_a_generators_file_leaves_the_discriminator_new(registry, tmp_path):
    source, target = vary(state_of(registry)), state_of(registry)
    before = {name: each.clone() for name, each in target.discriminator.state_dict().items()}
    said = init_from(target, tmp_path / "x", source.ema.state_dict(), {"kind": "generator", "images": 7})
    assert "discriminator 0 of 3 layers; new: discriminator" in said
    for name, value in source.ema.state_dict().items():
        assert torch.equal(target.generator.state_dict()[name], value)
        assert torch.equal(target.ema.state_dict()[name], value)
    assert all(torch.equal(value, before[name]) for name, value in target.discriminator.state_dict().items())


def test_a_checkpoint_without_an_average_starts_it_at_the_generator(registry, tmp_path):
    source, target = vary(state_of(registry)), state_of(registry)
    tensors = {name: each for name, each in source.tensors().items() if not name.startswith("average")}
    init_from(target, tmp_path / "x", tensors, {"kind": "checkpoint"})
    for name, value in source.generator.state_dict().items():
        assert torch.equal(target.ema.state_dict()[name], value)


def test_further_networks_and_their_averages_start_from_theirs(registry, tmp_path):
    networks = {"second": {"player": "generator", "name": "dcgan", "width": 4, "max_width": 8}}
    source, target = (vary(state_of(registry, networks=networks)) for _ in range(2))
    for name in ("network.second", "average.second"):
        for tensor in source.modules()[name].state_dict().values():
            tensor.fill_(7 if name == "network.second" else 8)
    said = init_from(target, tmp_path / "x", source.tensors(), {"kind": "checkpoint"})
    assert said.endswith("network.second 5 of 5 layers")
    for name in ("network.second", "average.second"):
        for key, tensor in target.modules()[name].state_dict().items():
            assert torch.equal(tensor, source.modules()[name].state_dict()[key]), (name, key)


@pytest.fixture
def source(run, here, image_folder):
    """A run of StyleGAN2 with settings of its own, on images of 16 pixels."""
    code, out, err = run(
        "train", "--data", image_folder, "--arch", "stylegan2", "--images", "16", "--reg", "r1:weight=3", *PLAIN,
        "--set", "generator.width=4", "--set", "generator.max_width=8", "--set", "generator.mapping_layers=2",
        "--set", "discriminator.width=4", "--set", "discriminator.max_width=8", "--set", "optimizer.beta2=0.9",
        "--set", "generator.z_dim=8", "--set", "generator.w_dim=8",
    )  # fmt: skip
    assert code == 0, err
    return here / out.strip()


def test_a_new_run_has_the_settings_of_the_run_that_it_starts_from(run, source, here, image_folder):
    code, out, err = run("train", "--data", image_folder, "--init-from", "0", "--images", "16", *PLAIN)
    assert code == 0, err
    assert "as 0: recipe stylegan2, --resolution 16\n" in err
    assert "initialized from" in err
    assert "new:" not in err
    chosen = "--augment ada:images=100000 --callback early-stop:patience=200000,memorization=0.2\n"
    assert f"for 40 examples: {chosen}" in err  # its recipe has no settings for few examples
    assert "--freeze discriminator:2 keeps layers that overfit" in err
    before, after = (RunFolder(each).read_config() for each in (source, here / out.strip()))
    for section in ("recipe", "generator", "discriminator", "loss", "regularizers", "optimizer"):
        assert after[section] == before[section], section
    assert after["data"]["resolution"] == 16
    assert after["augmentations"].keys() == {"ada"}
    start, _ = read_tensors(RunFolder(here / out.strip()).checkpoint_path(0))
    end, _ = read_tensors(RunFolder(source).checkpoint_path(16))
    networks = [name for name in start if name.split("/")[0] in ("generator", "discriminator", "average")]
    assert len(networks) > 50
    assert all(torch.equal(start[name], end[name]) for name in networks)


def test_what_is_given_wins_and_widths_follow_the_resolution(run, source, image_folder):
    options = ["--resolution", "32", "--reg", "r1:weight=9", "--augment", "flip", "--set", "discriminator.width=4"]
    code, out, err = run("train", "--data", image_folder, "--init-from", source, "--dry-run", *options, *PLAIN)
    assert code == 0, err
    config = json.loads(out)
    assert (config["generator"]["width"], config["discriminator"]["width"]) == (2, 4)
    assert config["regularizers"]["r1"]["weight"] == 9
    assert config["regularizers"].keys() == {"r1", "path-length"}
    assert config["augmentations"].keys() == {"flip"}
    assert re.search(
        r"generator (\d+) of \d+ layers, discriminator \d+ of \d+ layers; new: .*discriminator layers", err
    )


def test_a_network_that_has_grown_starts_at_full_size(run, here, image_folder):
    widths = ["--set", "generator.width=4", "--set", "discriminator.width=4"]
    code, out, err = run("train", "--data", image_folder, "--arch", "pggan", "--images", "16", *widths, *PLAIN)
    assert code == 0, err
    code, out, err = run("train", "--data", image_folder, "--init-from", "0", "--images", "16", *PLAIN)
    assert code == 0, err
    assert "new:" not in err
    after = RunFolder(here / out.strip()).read_config()
    assert not after["generator"]["growing"]
    assert not after["discriminator"]["growing"]


def test_another_recipe_keeps_its_own_settings(run, source, image_folder):
    arguments = ["train", "--data", image_folder, "--init-from", source, "--arch", "rpgan", "--dry-run", *PLAIN]
    code, _, err = run(*arguments)
    assert code == 2
    assert "no layer agrees with this run's networks" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({}, {}, {"ada": {"images": 100_000}}),
        ({"variants": {"few": {"augmentations": {"ada": {}}}}}, {}, {"ada": {"images": 100_000}}),
        ({"variants": {"few": {"augmentations": {"flip": {}}}}}, {}, {"flip": {}}),
        ({"settings": {"augmentations": {"diffaugment": {}}}}, {}, {"diffaugment": {}}),
        ({"settings": {"augmentations": {"flip": {}}}}, {}, {"flip": {}, "ada": {"images": 100_000}}),
        ({}, {"augmentations": {"flip": {}}}, {"flip": {}}),
        ({}, {"training": {"init_from": None}}, {}),
    ],
)
def test_few_examples_are_augmented_by_ada_unless_something_else_is_chosen(image_folder, own, given, expected):
    parts = {name: {"name": "dcgan"} for name in ("generator", "discriminator")} | {"loss": {"name": "nonsat"}}
    recipe = Recipe("Some.", "None", parts | own.get("settings", {}), own.get("variants", {}))
    registry = Registry([*Registry.installed().plugins, Plugin("t", "t", "", "ok", parts={"recipe": {"some": recipe}})])
    layers = [{"recipe": "some", "data": {"source": str(image_folder)}, "training": {"init_from": "x"}}, given]
    config, _, _ = fit(registry, layers, CPU, lambda config: open_configured(config, registry))
    assert {each.name for each in config.augmentations} == expected.keys()
    for each in config.augmentations:
        assert each.options.items() >= expected[each.name].items()


def test_a_file_alone_gives_its_recipe_and_generator(run, source, here, image_folder):
    alone = here / "elsewhere" / "mine.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(RunFolder(source).generator.read_bytes())
    code, out, err = run("train", "--data", image_folder, "--init-from", alone, "--dry-run", *PLAIN)
    assert code == 0, err
    config = json.loads(out)
    assert config["generator"] == RunFolder(source).read_config()["generator"]
    assert config["recipe"] == "stylegan2"
    assert "new: discriminator\n" in err


def test_python_starts_from_a_run_too(source, image_folder, capsys):
    settings = {"training.engine": "eager", "training.precision": "float32", "training.samples": 4}
    run = ganforge.train(data=image_folder, init_from=source, images=8, device="cpu", settings=settings)
    assert run.config["recipe"] == "stylegan2"
    assert "initialized from" in capsys.readouterr().err


@pytest.mark.parametrize("card", [{"kind": "frozen"}, {"kind": "checkpoint"}, {"generator": 3}])
def test_a_file_without_a_generator_is_one_line(run, here, image_folder, card):
    save_tensors(here / "x.safetensors", {"x": torch.zeros(1)}, card)
    code, _, err = run("train", "--data", image_folder, "--init-from", "x.safetensors", *PLAIN)
    assert (code, err.count("\n")) == (2, 1)
    assert "invalid card" in err


def test_other_files_beside_the_weights_are_no_run(run, here, image_folder, registry):
    options = registry.check("generator", "dcgan", {"width": 4})
    generator = registry.build("generator", "dcgan", options, DataSpec((3, 16, 16)))
    card = {
        "generator": registry.part("generator", "dcgan").describe(options),
        "data": {"shape": [3, 16, 16], "class_names": []},
    }
    save_generator(here / "mine.safetensors", generator.state_dict(), card)
    (here / "config.json").write_text('{"architectures": ["other"]}')
    code, out, err = run("train", "--data", image_folder, "--init-from", "mine.safetensors", "--dry-run", *PLAIN)
    assert code == 0, err
    assert json.loads(out)["generator"]["width"] == 4
