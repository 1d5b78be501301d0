import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

import ganforge
from ganforge import (
    ClassifierDiscriminator,
    ConditionalBatchNorm2d,
    ConditionalSequential,
    DataSpec,
    FeatureDiscriminator,
    OptionError,
    Pair,
    Step,
    generate,
    join_labels,
)
from ganforge.builtin.conditional import AuxiliaryClassifier
from ganforge.cli import main
from ganforge.config.schema import resolve
from ganforge.plugins.registry import Registry
from ganforge.testing import check_discriminator, check_generator
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator, step_generator

REGISTRY = Registry.installed()
IMAGES = DataSpec((3, 16, 16), ("cat", "dog", "owl"))
VECTORS = DataSpec((5,), ("cat", "dog", "owl"))
SMALL = {
    "mlp": {"hidden": (8, 8)},
    **{name: {"width": 4, "max_width": 16} for name in ("dcgan", "resnet", "pggan", "stylegan", "stylegan2")},
}


def conditional_networks(kind):
    for name in REGISTRY.names(kind):
        option = REGISTRY.options(kind, name).get("conditioning")
        for way in option.annotation.__args__ if option else ():
            yield pytest.param(name, way, id=f"{name}-{way}")


GENERATORS = list(conditional_networks("generator"))
DISCRIMINATORS = list(conditional_networks("discriminator"))


def build(kind, name, way, data=IMAGES):
    torch.manual_seed(0)
    return REGISTRY.build(kind, name, {**SMALL.get(name, {}), "conditioning": way}, data)


# Layers.


@pytest.mark.parametrize("strength", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 3, 7)])
def test_joined_labels_mark_the_place_of_the_class(shape, strength):
    x, labels = torch.randn(shape), torch.tensor([2, 0, 1, 2])
    expected = torch.zeros(4, shape[1] + 3, *shape[2:])
    for n, label in enumerate([2, 0, 1, 2]):
        expected[n, : shape[1]] = x[n]
        expected[n, shape[1] + label] = strength
    assert torch.equal(join_labels(x, labels, 3, strength), expected)
    assert torch.equal(torch.jit.script(join_labels)(x, labels, 3, strength), expected)
    assert join_labels(x.double(), labels, 3).dtype == torch.float64


def test_an_unconditional_input_stays_as_it_is():
    x = torch.randn(4, 5)
    assert join_labels(x, torch.zeros(4, dtype=torch.int64), 0) is x
    assert join_labels(x, None, 0) is x


def test_labels_that_are_missing_are_asked_for():
    with pytest.raises(ValueError, match="is conditional: give labels"):
        join_labels(torch.randn(4, 5), None, 3)
    with pytest.raises(torch.jit.Error, match="is conditional: give labels"):
        torch.jit.script(join_labels)(torch.randn(4, 5), None, 3)


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_equals_its_formula(training):
    torch.manual_seed(0)
    layer = ConditionalBatchNorm2d(3, 4).double()
    nn.init.normal_(layer.scale.weight)
    nn.init.normal_(layer.shift.weight)
    layer(torch.randn(8, 3, 5, 5, dtype=torch.float64) * 3 + 1, torch.zeros(8, dtype=torch.int64))
    mean, variance = (layer.norm.state_dict()[f"running_{each}"].clone() for each in ("mean", "var"))
    x, labels = torch.randn(6, 3, 5, 5, dtype=torch.float64), torch.tensor([3, 1, 0, 0, 2, 3])
    if training:
        mean = x.sum((0, 2, 3)) / 150
        variance = torch.stack([(x[:, c] - mean[c]).square().sum() / 150 for c in range(3)])
    expected = torch.empty_like(x)
    for n, label in enumerate(labels):
        for c in range(3):
            normal = (x[n, c] - mean[c]) / math.sqrt(variance[c] + 1e-5)
            expected[n, c] = layer.scale.weight[label, c] * normal + layer.shift.weight[label, c]
    assert torch.allclose(layer.train(training)(x, labels), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="give labels"):
        layer(x)


def test_conditional_batch_norm_begins_as_batch_norm():
    x, labels = torch.randn(6, 3, 5, 5), torch.arange(6) % 4
    assert torch.allclose(ConditionalBatchNorm2d(3, 4)(x, labels), nn.BatchNorm2d(3)(x), atol=1e-6)


def test_a_conditional_sequence_gives_labels_to_those_who_take_them_and_compiles():
    layers = ConditionalSequential(nn.Conv2d(2, 3, 1), ConditionalBatchNorm2d(3, 4), nn.ReLU()).eval()
    nn.init.normal_(layers[1].scale.weight)
    x, labels = torch.randn(5, 2, 4, 4), torch.arange(5) % 4
    expected = layers[2](layers[1](layers[0](x), labels))
    assert torch.equal(layers(x, labels), expected)
    assert torch.equal(torch.jit.script(layers)(x, labels), expected)
    plain = ConditionalSequential(nn.Conv2d(2, 3, 1), nn.ReLU())
    assert torch.equal(torch.jit.script(plain)(x), plain(x, labels))


# Networks.


@pytest.mark.parametrize(("name", "way"), GENERATORS)
def test_every_generator_passes_the_checks_in_every_way(name, way):
    check_generator(REGISTRY.part("generator", name).factory, IMAGES, **SMALL.get(name, {}), conditioning=way)


@pytest.mark.parametrize(("name", "way"), DISCRIMINATORS)
def test_every_discriminator_passes_the_checks_in_every_way(name, way):
    check_discriminator(REGISTRY.part("discriminator", name).factory, IMAGES, **SMALL.get(name, {}), conditioning=way)


def test_the_networks_offer_the_ways_that_the_guide_names():
    ways = {param.id for param in (*GENERATORS, *DISCRIMINATORS)}
    assert {"mlp-input", "dcgan-input", "dcgan-norm"} <= ways
    assert {f"{name}-{way}" for name in ("mlp", "dcgan") for way in ("none", "projection", "auxiliary")} <= ways


def changed(network, examples, labels):
    other = labels.clone()
    other[1] = (other[1] + 1) % 3
    network.eval()
    with torch.no_grad():
        return [not torch.equal(a, b) for a, b in zip(network(examples, labels), network(examples, other), strict=True)]


@pytest.mark.parametrize(("name", "way"), GENERATORS)
def test_a_label_changes_the_example_that_it_belongs_to(name, way):
    network = build("generator", name, way)
    z, labels = torch.randn(4, network.z_dim), torch.arange(4) % 3
    assert changed(network, z, labels) == [False, way != "none", False, False]


@pytest.mark.parametrize(("name", "way"), DISCRIMINATORS)
def test_a_label_changes_the_logit_that_it_belongs_to(name, way):
    network = build("discriminator", name, way)
    expected = way in ("input", "projection", "mapping")  # a classifier predicts the label, it does not see it
    assert changed(network, torch.randn(4, 3, 16, 16), torch.arange(4) % 3) == [False, expected, False, False]


@pytest.mark.parametrize(("name", "way"), GENERATORS)
def test_a_conditional_generator_insists_on_labels_and_another_does_not(name, way):
    network = build("generator", name, way)
    if way == "none":
        assert generate(network, 2).shape == (2, 3, 16, 16)
    else:
        with pytest.raises(ValueError, match="give labels"):
            generate(network, 2)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_unlabelled_data_are_refused_in_words(kind, name):
    ways = GENERATORS if kind == "generator" else DISCRIMINATORS
    for way in [param.values[1] for param in ways if param.values[0] == name and param.values[1] != "none"]:
        message = f"{kind} '{name}': conditioning={way} needs labeled data, but these have no classes; "
        with pytest.raises(OptionError, match=message):
            build(kind, name, way, DataSpec((3, 16, 16)))


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
@pytest.mark.parametrize("data", [IMAGES, DataSpec((3, 16, 16))])
def test_unconditional_networks_have_the_weights_that_they_always_had(name, data):
    if name == "mlp":
        generator = [f"layers.{i}.{each}" for i in (0, 2, 4) for each in ("weight", "bias")]
        discriminator = [f"layers.{i}.{each}" for i in (1, 4) for each in ("weight", "bias")]
    else:
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        generator = ["layers.0.weight", *(f"layers.1.{each}" for each in norm)]
        generator += ["layers.3.weight", *(f"layers.4.{each}" for each in norm), "layers.6.weight", "layers.6.bias"]
        discriminator = ["layers.0.weight", "layers.0.bias", "layers.2.weight", *(f"layers.3.{each}" for each in norm)]
    assert list(build("generator", name, "none", data).state_dict()) == generator
    keys = [*discriminator, "judge.weight", "judge.bias"]
    assert list(build("discriminator", name, "none", data).state_dict()) == keys


@pytest.mark.parametrize("name", ["mlp", "dcgan"])
def test_a_projection_adds_the_product_of_embedding_and_features(name):
    network = build("discriminator", name, "projection").eval()
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([2, 0, 1, 2])
    features = network.features(images, labels)
    products = [
        sum(a * b for a, b in zip(network.projection.weight[label].tolist(), row.tolist(), strict=True))
        for label, row in zip(labels, features, strict=True)
    ]
    expected = network.logits(features) + torch.tensor(products)
    assert torch.allclose(network(images, labels), expected, atol=1e-5)
    assert 0.1 < (torch.tensor(products) / features.square().mean(1).sqrt()).abs().max() < 10


def test_the_mlp_joins_labels_as_numbers_and_not_as_maps():
    network = build("discriminator", "mlp", "input")
    assert network.layers[1].in_features == 3 * 16 * 16 + 3
    assert build("discriminator", "mlp", "input", VECTORS).layers[1].in_features == 8


# The auxiliary classifier.


def step_of(discriminator, labels, data=VECTORS):
    generator = build("generator", "mlp", "input", data)
    latents = torch.randn(6, generator.z_dim)
    fake = generator(latents, torch.zeros(6, dtype=torch.int64))
    images = Pair(torch.randn(6, *data.shape), fake)
    return Step(generator, discriminator, images=images, latents=latents, labels=labels)


def test_the_auxiliary_terms_are_cross_entropies():
    discriminator = build("discriminator", "mlp", "auxiliary", VECTORS)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    step = step_of(discriminator, labels)
    weight, bias = discriminator.classifier.weight.double(), discriminator.classifier.bias.double()

    def surprise(examples):
        scores = discriminator.layers(examples).double() @ weight.T + bias
        chances = scores.exp() / scores.exp().sum(1, keepdim=True)
        return -sum(chances[n, label].log() for n, label in enumerate(labels)) / 6

    real, fake = surprise(step.images.real).item(), surprise(step.images.fake).item()
    assert AuxiliaryClassifier().discriminator(step).item() == pytest.approx(real + fake, rel=1e-5)
    assert AuxiliaryClassifier().generator(step).item() == pytest.approx(fake, rel=1e-5)


def test_the_scores_of_a_classifier_do_not_see_the_label():
    network = build("discriminator", "dcgan", "auxiliary").eval()
    images = torch.randn(3, 3, 16, 16)
    scores = [network.classify(network.features(images, torch.full((3,), label))) for label in range(3)]
    assert scores[0].shape == (3, 3)
    assert torch.equal(scores[0], scores[1])
    assert log_softmax(scores[0], 1).isfinite().all()


class Plain(FeatureDiscriminator):
    def features(self, images, labels=None):
        return images

    def head(self, features, labels=None):
        return features.sum(1)


def test_the_regulariser_names_what_it_misses():
    labels = torch.zeros(6, dtype=torch.int64)
    with pytest.raises(OptionError, match="Plain has no classifier"):
        AuxiliaryClassifier().generator(step_of(Plain(), labels))
    without = build("discriminator", "mlp", "projection", VECTORS)
    with pytest.raises(OptionError, match="no classifier") as error:
        AuxiliaryClassifier().generator(step_of(without, labels))
    assert "discriminator.conditioning=auxiliary" in error.value.hint
    with pytest.raises(OptionError, match="the data have no classes"):
        AuxiliaryClassifier().generator(step_of(build("discriminator", "mlp", "auxiliary", VECTORS), None))


def test_a_classifier_learns_to_tell_classes_apart():
    network = build("discriminator", "mlp", "auxiliary", VECTORS)
    assert isinstance(network, ClassifierDiscriminator)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    labels = torch.arange(6) % 3
    real = torch.eye(5)[labels] * 3
    for _ in range(30):
        step = Step(nn.Identity(), network, images=Pair(real, real), latents=real, labels=labels)
        AuxiliaryClassifier().discriminator(step).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(network.classify(network.features(real)).argmax(1), labels)


# Recipes and runs.

RECIPES = {"cgan": "mlp", "cdcgan": "dcgan", "acgan": "dcgan", "projection": "dcgan"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_steps_that_move_both_players(recipe):
    small = SMALL[RECIPES[recipe]]
    config = resolve(REGISTRY, {"recipe": recipe, "generator": small, "discriminator": small})
    state = build_state(config, REGISTRY, IMAGES, torch.device("cpu"))
    state.apply_schedules(config.optimizer)
    before = {name: value.clone() for name, value in state.tensors().items()}
    for index in range(2):
        real, latents, labels = torch.rand(6, 3, 16, 16), torch.randn(6, state.generator.z_dim), torch.arange(6) % 3
        fake = state.generator(latents, labels)
        row = step_discriminator(state, [(Batch(real, latents, labels), fake)], index)
        row |= step_generator(state, [(Batch(real, latents, labels), fake)], index)
        assert all(value.isfinite() for value in row.values())
    assert ("generator/auxiliary" in row) == ("discriminator/auxiliary" in row) == (recipe == "acgan")
    for player in (state.generator, state.discriminator):
        name = "generator" if player is state.generator else "discriminator"
        rested = {key for key, value in player.named_parameters() if torch.equal(value, before[f"{name}/{key}"])}
        assert rested <= {"judge.bias"}  # it cancels where the hinge loss is linear


def test_recipes_are_conditioned_as_their_papers_say():
    def ways(recipe):
        config = resolve(REGISTRY, {"recipe": recipe})
        return [each.options["conditioning"] for each in (config.generator, config.discriminator)], config.loss.name

    assert ways("cgan") == ways("cdcgan") == (["input", "input"], "nonsat")
    assert ways("acgan") == (["input", "auxiliary"], "nonsat")
    assert ways("projection") == (["norm", "projection"], "hinge")


def call(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code or 0


NARROW = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "8", "--device", "cpu"]


def test_a_conditional_run_resumes_samples_by_class_and_exports(image_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = ["train", "--arch", "projection", "--data", image_folder, *NARROW]
    assert call(*train, "--images", "16", "--name", "run") == 0
    assert call("train", "--resume", "--images", "32") == 0
    assert call(*train, "--images", "32", "--name", "long") == 0
    run, long = tmp_path / "runs/00000-run", tmp_path / "runs/00001-long"
    assert (run / "generator.safetensors").read_bytes() == (long / "generator.safetensors").read_bytes()

    for name in ("cat", "dog"):
        assert call("sample", run, "--class", name, "--count", "2", "--to", name) == 0
    pictures = [(tmp_path / name / "seed000001.png").read_bytes() for name in ("cat", "dog")]
    assert pictures[0] != pictures[1]

    assert call("export", "--torchscript", run, "--to", "model.pt") == 0
    texts = {"ganforge.json": ""}
    scripted = torch.jit.load("model.pt", _extra_files=texts)
    assert json.loads(texts["ganforge.json"])["inputs"]["labels"]["num_classes"] == 2
    generator, z = ganforge.load(run), torch.randn(6, 100)
    for labels in (torch.arange(6) % 2, torch.ones(6, dtype=torch.int64)):
        with torch.no_grad():
            assert torch.allclose(scripted(z, labels), generator(z, labels), atol=1e-5)
    with pytest.raises(torch.jit.Error, match="give labels"):
        scripted(z)
    capsys.readouterr()


def test_a_conditional_run_on_unlabelled_data_stops_before_it_begins(tmp_path, image_folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("train", "--arch", "cdcgan", "--data", image_folder / "cat", *NARROW) == 2
    assert "needs labeled data" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_network_of_the_guide_passes_the_checks_in_every_way():
    page = Path(__file__).parent.parent / "docs/guide/conditioning.md"
    code = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)[-1]
    names = {}
    exec(compile(code, "<docs>", "exec"), names)
    for way in ("none", "input", "projection", "auxiliary"):
        check_discriminator(names["Small"], VECTORS, conditioning=way)
