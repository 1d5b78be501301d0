"""StyleGAN2-ADA's pickles become runs that compute the same, and what is unsupported is refused by name."""

import json

import numpy
import pytest
import stylegan2_files as files
import torch
from PIL import Image
from torch.nn.functional import softplus

import ganforge
from ganforge import CheckpointError
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.builtin.stylegan2_ada import StyleGAN2ADA
from ganforge.runs.checkpoint import read_card, read_tensors
from ganforge.testing import check_importer
from ganforge.training.state import select

VARIANTS = {
    "as published": ({}, {}),
    "gray, orig and skip": ({"colors": 1, "architecture": "orig"}, {"colors": 1, "architecture": "skip", "group": 2}),
    "residuals and orig": (
        {"architecture": "resnet", "resolution": 32, "most": 16},
        {"architecture": "orig", "resolution": 32, "most": 16, "statistics": 0},
    ),
    "classes": (
        {"c_dim": 3, "embedding": 7, "num_layers": 3},
        {"c_dim": 3, "vector": 5, "num_layers": 1, "group": None},
    ),
    "classes of the same width": ({"c_dim": 2, "embedding": 5}, {"c_dim": 2}),
    "clamped": ({"clamp": 0.7, "fp16": True}, {"clamp": 0.7}),
    "clamped residuals": ({"clamp": 0.5, "architecture": "resnet"}, {"clamp": 0.5, "architecture": "skip"}),
    "two taps": ({"taps": (1, 1), "resolution": 8}, {"taps": (1, 1), "resolution": 8}),
    "three taps": ({"taps": (1, 2, 1), "architecture": "resnet"}, {"taps": (1, 2, 1), "architecture": "skip"}),
    "uneven taps": ({"taps": (1, 4, 2, 1, 1)}, {"taps": (1, 4, 2, 1, 1)}),
    "ten taps": ({"taps": (1, 2, 3, 4, 5, 5, 4, 3, 2, 1)}, {"taps": (1, 2, 3, 4, 5, 5, 4, 3, 2, 1)}),
}


def write(path, generator=None, discriminator=None, **content):
    """A file of random networks; G and G_ema differ in their weights."""
    torch.manual_seed(0)
    networks = {name: files.generator(**(generator or {})) for name in ("G", "G_ema")}
    networks["D"] = files.discriminator(**(discriminator or {}))
    return files.write(path, **{**networks, **content}), {**networks, **content}


@pytest.fixture
def imported(run, here):
    def read(*options, **content):
        path, networks = write(here / "theirs.pkl", **content)
        code, out, err = run("import", path, *options)
        assert code == 0, err
        return here / out.strip(), networks, err

    return read


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_styles_and_logits_are_those_of_the_file(tmp_path, variant):
    options, judged = VARIANTS[variant]
    path, networks = write(tmp_path / "theirs.pkl", options, judged)
    theirs, count = networks["G_ema"], options.get("c_dim", 0)
    z = torch.randn(4, 5)
    labels = torch.arange(4) % count if count else None
    c = torch.eye(count, dtype=torch.float64)[labels] if count else None
    found = StyleGAN2ADA().read(path)
    network = StyleGAN2Generator(found.data, **found.options).eval()
    network.load_state_dict(found.weights)
    own = dict(found.settings["discriminator"])
    assert own.pop("name") == found.generator == "stylegan2"
    judge = StyleGAN2Discriminator(found.data, **own).eval()
    judge.load_state_dict(found.players["discriminator"])
    with torch.no_grad():
        for truncation, cutoff in ((1.0, None), (0.5, None), (0.7, 3)):
            expected = files.styles_of(theirs.mapping, z.double(), c, truncation, cutoff)
            styles = network.mapping(z, labels, truncation, -1 if cutoff is None else cutoff)
            assert (styles - expected).abs().max() < 1e-5
            for noise in ("fixed", "none"):
                images = files.draw(theirs.synthesis, expected, noise == "fixed")
                assert (network.synthesis(styles, noise) - images).abs().max() < 1e-5 * images.abs().max().clamp(min=1)
        expected = files.judge(networks["D"], images, c)
        assert (judge(images.float(), labels) - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)


def test_a_run_computes_what_the_file_does(imported):
    folder, networks, _ = imported(generator={"c_dim": 3}, discriminator={"c_dim": 3})
    z, labels = torch.randn(4, 5), torch.arange(4) % 3
    styles = files.styles_of(networks["G_ema"].mapping, z.double(), torch.eye(3, dtype=torch.float64)[labels])
    images = files.draw(networks["G_ema"].synthesis, styles)
    with torch.no_grad():
        assert torch.allclose(ganforge.load(folder)(z, labels).double(), images, atol=1e-4)
    config = json.loads((folder / "config.json").read_text())
    assert config["discriminator"]["conditioning"] == "mapping"
    assert config["generator"]["filter"] == [0.125, 0.375, 0.375, 0.125]


def test_all_three_networks_are_kept_for_training_on(imported):
    folder, networks, _ = imported()
    tensors, _ = read_tensors(folder / "checkpoints/000000000.safetensors")
    ema = ganforge.load(folder)
    own = ema.state_dict()
    assert all(torch.equal(each, own[name]) for name, each in select(tensors, "average").items())
    ema.load_state_dict(select(tensors, "generator"))
    styles = files.styles_of(networks["G"].mapping, torch.randn(2, 5).double())
    with torch.no_grad():
        images = files.draw(networks["G"].synthesis, styles)
        assert torch.allclose(ema.synthesis(styles.float()).double(), images, atol=1e-4)


def test_a_file_without_players_gives_a_generator_alone(imported):
    folder, _, err = imported(G=None, D=None)
    assert "no discriminator" in err
    assert not list((folder / "checkpoints").iterdir())
    assert ganforge.load(folder)(torch.randn(1, 5)).shape == (1, 3, 16, 16)


def test_the_card_names_source_license_and_digest(imported):
    folder, _, err = imported("--license", "CC0", "--source", "https://example.org/a.pkl")
    told = read_card(folder / "generator.safetensors")["imported"]
    assert (told["license"], told["source"]) == ("CC0", "https://example.org/a.pkl")
    assert (told["importer"], told["format"], len(told["sha256"])) == ("stylegan2-ada", "StyleGAN2-ADA, PyTorch", 64)
    assert "license is unknown" not in err
    folder, _, err = imported()
    assert read_card(folder / "generator.safetensors")["imported"]["license"] == "unknown"
    assert "--license" in err


def test_what_is_left_out_is_said(imported):
    _, _, err = imported(generator={"fp16": True, "c_dim": 2}, discriminator={"c_dim": 2})
    assert "mixed precision is not imported" in err
    assert "classes 0 to 1" in err


def change(networks, **changes):
    for path, value in changes.items():
        *modules, name = path.split("__")
        found = networks
        for each in modules:
            found = found[each] if isinstance(found, dict) else found.modules[each]
        place = next((part for part in (found.parameters, found.buffers) if name in part), found.values)
        place[name] = value


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"G_ema__z_dim": 0}, "a generator without latents is unsupported"),
        ({"G_ema__w_dim": 9}, "fits the rest"),
        ({"G_ema__w_dim": 1 << 40}, "G_ema: w_dim is no number up to 65536"),
        ({"G_ema__w_dim": True}, "G_ema: w_dim is no number up to 65536"),
        ({"G_ema__synthesis__img_resolution": 48}, "images of 48 pixels are unsupported"),
        ({"G_ema__synthesis__img_resolution": 64}, "has no module 'b32'"),
        ({"G_ema__synthesis__b8__architecture": "dense"}, "architecture 'dense' is unsupported"),
        ({"G_ema__synthesis__b16__architecture": "orig"}, "architecture is not 'skip'"),
        ({"G_ema__synthesis__b8__conv0__activation": "swish"}, "G_ema.synthesis.b8.conv0: activation is not 'lrelu'"),
        ({"G_ema__synthesis__b8__conv1__conv_clamp": 3.0}, "different filters or limits"),
        ({"G_ema__synthesis__b8__conv0__resample_filter": files.make_filter((1, 2, 1))}, "different filters or limits"),
        ({"G_ema__synthesis__b8__conv0__resample_filter": torch.eye(4)}, "not the same along both axes"),
        ({"G_ema__synthesis__b8__conv1__act_gain": 1.0}, "act_gain"),
        ({"G_ema__synthesis__b8__conv1__weight": torch.zeros(5, 5, 3, 3)}, "channels [4, 5, 6] are unsupported"),
        (
            {"G_ema__synthesis__b8__conv1__weight": torch.zeros(6, 6, 5, 5)},
            "conv1.weight has shape (6, 6, 5, 5), but (6, 6, 3, 3) fits the rest",
        ),
        ({"G_ema__synthesis__b8__conv1__conv_clamp": [3.0]}, "does not fit together: unhashable type"),
        ({"G_ema__synthesis__b8__conv1__bias": torch.zeros(())}, "does not fit together: "),
        ({"G_ema__synthesis__b8__conv1__noise_strength": torch.zeros(3)}, "does not fit together: "),
        ({"G_ema__mapping__num_layers": 3}, "G_ema.mapping has no module 'fc2'"),
        ({"G_ema__z_dim": 4}, "G_ema.mapping.fc0.weight has shape (6, 5), but (6, 4) fits the rest"),
        ({"G_ema__synthesis__img_channels": 4}, "torgb.weight has shape (3, 4, 1, 1), but (4, 4, 1, 1) fits the rest"),
        ({"G_ema__mapping__num_layers": 0}, "mapping_layers=0 must be at least 1"),
        ({"G_ema__mapping__fc0__activation": "linear"}, "activation is not 'lrelu'"),
        ({"D__b4__mbstd__num_channels": 2}, "num_channels is not 1"),
        ({"D__img_resolution": 32}, "D judges other images"),
        ({"G__mapping__num_layers": 1}, "G and G_ema have different architectures"),
    ],
)
def test_what_is_unsupported_is_refused_by_name(tmp_path, changes, said):
    path, networks = write(tmp_path / "theirs.pkl")
    change(networks, **changes)
    files.write(path, **networks)
    with pytest.raises(CheckpointError) as caught:
        StyleGAN2ADA().read(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modules_that_occur_many_times_are_refused(tmp_path):
    path, networks = write(tmp_path / "theirs.pkl")
    bomb = files.Module("Leaf")
    for _ in range(5):
        bomb = files.Module("Bomb", **{f"m{index}": bomb for index in range(100)})
    networks["G_ema"].synthesis.modules["bomb"] = bomb
    files.write(path, **networks)
    with pytest.raises(CheckpointError, match=r"G_ema\.synthesis\.bomb\.m0.* occurs twice"):
        StyleGAN2ADA().read(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"G_ema__synthesis__img_resolution": 48}, "images of 48 pixels are unsupported"),
        ({"G_ema__mapping__w_avg": torch.full((6,), torch.nan)}, "weights of the generator are not finite"),
        ({"D__b4__out__bias": torch.full((1,), torch.inf)}, "weights of the discriminator are not finite"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(run, here, changes, said):
    path, networks = write(here / "theirs.pkl")
    change(networks, **changes)
    files.write(path, **networks)
    code, out, err = run("import", path)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not list(here.glob("runs/*/config.json"))


def test_other_families_are_named(run, here):
    torch.manual_seed(0)
    third = files.generator()
    third.synthesis.modules["input"] = files.Module("SynthesisInput")
    path = files.write(here / "third.pkl", G_ema=third)
    code, _, err = run("import", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "StyleGAN3 is unsupported: Fourier features" in err
    (here / "first.pkl").write_bytes(b"(cdnnlib.tflib.network\nNetwork\n)R\x80\x02}bl.".replace(b"\x80\x02", b""))
    code, _, err = run("import", "first.pkl")
    assert code == 2
    assert "networks of TensorFlow are unsupported" in err


def test_what_the_file_names_besides_is_told_and_not_called(run, here):
    import os

    class Trap:
        def __reduce__(self):
            return (os.system, ("touch touched",))

    path, _ = write(here / "theirs.pkl", extra=Trap())
    code, _, err = run("import", path)
    assert code == 0
    assert "names posix.system" in err
    assert not (here / "touched").exists()


def test_the_importer_keeps_the_contract(here):
    path, _ = write(here / "theirs.pkl")
    found = check_importer(StyleGAN2ADA, path)
    assert found.data.shape == (3, 16, 16)


def test_exported_files_say_where_the_weights_come_from(imported, run, here):
    folder, _, _ = imported("--license", "CC0", "--source", "https://example.org/a.pkl")
    code, _, err = run("export", "--safetensors", "--to", here / "out")
    assert code == 0, err
    assert "license: CC0, origin: theirs.pkl from https://example.org/a.pkl, sha256: " in err
    told = json.loads((here / "out/generator.origin.json").read_text())
    assert told["license"] == told["imported"]["license"] == "CC0"
    assert told["imported"] == read_card(folder / "generator.safetensors")["imported"]


@pytest.mark.slow
def test_an_imported_run_is_sampled_exported_and_trained_on(run, here):
    path, _ = write(here / "theirs.pkl", generator={"c_dim": 2}, discriminator={"c_dim": 2})
    assert run("import", path)[0] == 0
    for command in (["sample", "--count", "2", "--device", "cpu"], ["export", "--torchscript", "--safetensors"]):
        code, _, err = run(*command)
        assert code == 0, err
    code, _, err = run("train", "--resume", "00000-theirs")
    assert code == 2
    assert "imported" in err


TRAINING = [
    "--init-from", "00000-theirs", "--resolution", "16", "--augment", "flip", "--batch", "4", "--device", "cpu",
    "--engine", "eager", "--precision", "float32", "--set", "training.samples=4", "--set", "training.threads=1",
    "--set", "training.layout=contiguous",
]  # fmt: skip


@pytest.mark.slow
def test_a_run_that_starts_from_a_file_keeps_its_license(run, here, image_folder):
    path, _ = write(here / "theirs.pkl")
    assert run("import", path, "--license", "CC0")[0] == 0
    code, out, err = run("train", "--data", image_folder, *TRAINING, "--images", "8")
    assert code == 0, err
    assert "images, license CC0: generator" in err
    assert run("train", "--resume", "--images", "16")[0] == 0
    first = read_card(here / "runs/00000-theirs/generator.safetensors")
    card = read_card(here / out.strip() / "generator.safetensors")
    assert (card["images"], card["imported"]) == (16, first["imported"])
    start = read_card(here / "runs/00000-theirs/checkpoints/000000000.safetensors")
    assert card["initialized_from"] == {
        "digest": start["digest"], "generator": "stylegan2", "data": "imported", "images": 0
    }  # fmt: skip


def reference_losses(networks, images, count):
    """Losses of both players on batches of 4 with flips, in float64, without training; ``[count, 2]``."""
    drawn = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        z = torch.randn(4, 5, generator=drawn).double()
        fake = files.draw(networks["G"].synthesis, files.styles_of(networks["G"].mapping, z), noise=False)
        real = images[torch.randint(len(images), (4,), generator=drawn)]
        flipped = (
            torch.where(torch.rand(4, 1, 1, 1, generator=drawn) < 0.5, each, each.flip(3)) for each in (real, fake)
        )
        real_logits, fake_logits = (files.judge(networks["D"], each) for each in flipped)
        of_discriminator = softplus(-real_logits).mean() + softplus(fake_logits).mean()
        found.append(torch.stack([of_discriminator, softplus(-fake_logits).mean()]))
    return torch.stack(found)


@pytest.mark.slow
def test_fine_tuning_begins_with_the_losses_of_the_file(run, here, image_folder):
    path, networks = write(here / "theirs.pkl")
    for each in ("G", "G_ema"):
        for block in networks[each].synthesis.modules.values():
            for name in {"conv0", "conv1"} & block.modules.keys():
                block.modules[name].parameters["noise_strength"] = torch.zeros(())
    for parameter in networks["D"].b4.out.parameters.values():
        parameter /= 8  # logits of size 1
    files.write(path, **networks)
    assert run("import", path)[0] == 0
    images = torch.stack([
        torch.from_numpy(numpy.array(Image.open(each).convert("RGB"))).permute(2, 0, 1).double() / 127.5 - 1
        for each in sorted(image_folder.rglob("*.png"))
    ])  # fmt: skip
    expected = reference_losses(networks, images, 100)
    losses = {}
    for speed in ("1e-12", "0.002"):
        code, out, err = run(
            "train", "--data", image_folder, *TRAINING, "--images", "80", "--set", "generator.mixing=0", "--set",
            "training.tick_images=4", "--set", f"optimizer.generator_lr={speed}", "--set",
            f"optimizer.discriminator_lr={speed}",
        )  # fmt: skip
        assert code == 0, err
        rows = [json.loads(line) for line in (here / out.strip() / "metrics.jsonl").read_text().splitlines()]
        losses[speed] = torch.tensor([[row[f"{of}/loss"] for of in ("discriminator", "generator")] for row in rows])
    still, trained = losses["1e-12"].double(), losses["0.002"].double()
    spread = expected.std(0)
    assert len(still) == 20
    assert ((still.mean(0) - expected.mean(0)).abs() < 4 * spread * (1 / 20 + 1 / 100) ** 0.5).all()
    assert trained[0, 0] == still[0, 0]  # of the discriminator, before its first step
    assert (torch.cat([still[:1], trained]).diff(dim=0).abs() < 5 * spread).all()
