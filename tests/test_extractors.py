import hashlib
import io
import json
import pickle
import re
import types
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from torch import nn

from ganforge import CheckpointError, DataSpec, Extractor, OptionError
from ganforge.data import open_data
from ganforge.data.splits import is_held_out
from ganforge.evaluation import classifier as classifier_module
from ganforge.evaluation.classifier import Classifier, kept_as, load_classifier, train_classifier
from ganforge.evaluation.extractors.dinov2 import DinoV2
from ganforge.evaluation.extractors.opening import open_extractor
from ganforge.evaluation.features.extraction import fingerprint_of
from ganforge.evaluation.metrics.comparison import name_metric
from ganforge.evaluation.small_network import HOLDOUT
from ganforge.plugins.registry import Registry
from ganforge.testing import check_extractor

COLOUR = DataSpec((3, 16, 16))
GREY = DataSpec((1, 16, 16))


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


@pytest.fixture
def build(registry):
    """Make an extractor as the command line does."""

    def call(name, data=COLOUR, **options):
        return registry.build("extractor", name, options, data).eval()

    return call


def look(extractor, images):
    with torch.no_grad():
        return extractor(images)


def draw(count, data=COLOUR, seed=0):
    return torch.randint(256, (count, *data.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def random_state(network, seed=0):
    """Random weights of a size that lets differences of images through, and variances that are positive."""
    source = torch.Generator().manual_seed(seed)

    def draw_like(name, tensor):
        if not tensor.is_floating_point():
            return tensor
        if name.endswith("running_var"):
            return torch.rand(tensor.shape, generator=source) + 0.5
        spread = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.1
        return torch.randn(tensor.shape, generator=source) * spread + (tensor.dim() == 1 and name.endswith("weight"))

    return {name: draw_like(name, each) for name, each in network.state_dict().items()}


# --- torchvision


@pytest.fixture(scope="module")
def shuffle_net():
    from torchvision.models import shufflenet_v2_x0_5

    network = shufflenet_v2_x0_5()
    network.load_state_dict(random_state(network))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def shuffle_file(shuffle_net, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "shuffle.safetensors"
    safetensors.torch.save_file(shuffle_net.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def shuffled(registry, shuffle_file):
    options = {"model": "shufflenet_v2_x0_5", "weights": shuffle_file, "size": 48}
    return registry.build("extractor", "torchvision", options, COLOUR).eval()


def test_torchvision_gives_what_its_last_linear_layer_is_given_and_its_logits(shuffled, shuffle_net, shuffle_file):
    from torchvision.transforms import functional

    images = draw(3)
    features, logits = look(shuffled, images)
    shown = functional.normalize(
        functional.resize(images / 255, [48, 48], antialias=True), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    )
    with torch.no_grad():
        wanted = shuffle_net(shown)
    assert features.shape == (3, 1024)
    assert (features - features[:1]).abs().max() > 0.01 * features.abs().max()
    assert torch.allclose(logits, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    assert torch.allclose(shuffle_net.fc(features), logits, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    sha256 = hashlib.sha256(Path(shuffle_file).read_bytes()).hexdigest()
    assert shuffled.label == f"shufflenet_v2_x0_5-{sha256[:8]}"
    assert name_metric("fid", shuffled) == f"fd_{shuffled.label}"
    assert name_metric("kid", shuffled) == f"kd_{shuffled.label}"


def test_torchvision_takes_a_pth_and_repeats_grey_images(build, shuffled, shuffle_net, tmp_path):
    path = tmp_path / "shuffle.pth"
    torch.save(shuffle_net.state_dict(), path)
    options = {"model": "shufflenet_v2_x0_5", "weights": str(path), "size": 48}
    images = draw(2, GREY)
    found, _ = look(build("torchvision", GREY, **options), images)
    assert torch.equal(found, look(shuffled, images.expand(-1, 3, -1, -1))[0])
    with pytest.raises(OptionError, match="images have 4 channels"):
        build("torchvision", DataSpec((4, 16, 16)), **options)


def test_maps_of_a_named_layer_are_averaged_over_their_pixels(build, shuffled, shuffle_file):
    named = build("torchvision", layer="conv5", model="shufflenet_v2_x0_5", weights=shuffle_file, size=48)
    assert torch.allclose(look(shuffled, draw(2))[0], look(named, draw(2))[0], rtol=1e-5)
    assert named.label.startswith("shufflenet_v2_x0_5-conv5-")


def test_published_googlenet_wants_its_own_range_of_pixels(build, tmp_path):
    from torchvision.models import googlenet

    network = googlenet(init_weights=False, transform_input=True).eval()
    path = tmp_path / "google.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    extractor = build("torchvision", model="googlenet", weights=str(path), size=64)
    images = draw(2, DataSpec((3, 64, 64)))
    shift, scale = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        wanted = network((images / 255 - shift) / scale)
    assert torch.allclose(look(extractor, images)[1], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "shufflenet_v2_x0_6"}, "no classification network 'shufflenet_v2_x0_6' .*'shufflenet_v2_x0_5'"),
        ({"weights": ""}, "needs weights .*https://download.pytorch.org/models/shufflenetv2_x0.5-"),
        ({"layer": "conv6"}, "has no layer 'conv6' .*'conv5'"),
        ({"layer": "fc"}, "gives its logits"),
        ({"layer": "stage2.1.view"}, "layer 'stage2.1.view' of shufflenet_v2_x0_5 gives"),
        ({"size": 0}, "size is 0"),
        ({"model": "mobilenet_v3_small"}, "holds weights of another network"),
        ({"weights": "absent.pth"}, "absent.pth: cannot be read"),
    ],
)
def test_a_mistake_with_torchvision_is_told_in_a_line(build, shuffle_file, options, message):
    with pytest.raises((OptionError, CheckpointError), match=message) as error:
        build("torchvision", **{"model": "shufflenet_v2_x0_5", "weights": shuffle_file, "size": 32, **options})
    assert "\n" not in str(error.value)


def test_networks_without_a_linear_layer_or_for_larger_images_are_told(build, tmp_path):
    from torchvision.models import squeezenet1_1

    path = tmp_path / "squeeze.safetensors"
    safetensors.torch.save_file(squeezenet1_1().state_dict(), path)
    with pytest.raises(OptionError, match="squeezenet1_1 ends in no linear layer .*layer="):
        build("torchvision", model="squeezenet1_1", weights=str(path), size=32)
    with pytest.raises(OptionError, match="takes no images of size=4"):
        build("torchvision", model="squeezenet1_1", weights=str(path), size=4, layer="features")
    found = build("torchvision", model="squeezenet1_1", weights=str(path), size=32, layer="features")
    assert look(found, draw(2))[0].shape == (2, 512)


# --- DINOv2


def dinov2_state(gated=False, edge=5, seed=0):
    """Random weights of a small network by the names of Meta's files."""
    width, hidden = 128, 96
    shapes = {
        "cls_token": (1, 1, width),
        "mask_token": (1, width),
        "pos_embed": (1, edge * edge + 1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    first, second = (("w12", "w3"), ("fc1", "fc2"))[not gated]
    for block in range(2):
        layers = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            f"mlp.{first}": (hidden * (1 + gated), width),
            f"mlp.{second}": (width, hidden),
        }
        for name, shape in layers.items():
            shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{block}.{name}"] = (width,)
    source = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=source) * 0.2 for name, shape in shapes.items()}


def dinov2_by_hand(state, pixels, places):
    """The same by torch's own attention, block by block."""

    def norm(x, name):
        return nn.functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(x, name):
        return nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = nn.functional.conv2d(pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x.flatten(2).mT], 1)
    x = x + torch.cat([state["pos_embed"][:, :1], places], 1)
    for name in ("blocks.0", "blocks.1"):
        attention = nn.MultiheadAttention(x.shape[-1], 2, batch_first=True).eval()
        attention.load_state_dict(
            {
                "in_proj_weight": state[f"{name}.attn.qkv.weight"],
                "in_proj_bias": state[f"{name}.attn.qkv.bias"],
                "out_proj.weight": state[f"{name}.attn.proj.weight"],
                "out_proj.bias": state[f"{name}.attn.proj.bias"],
            }
        )
        y = norm(x, f"{name}.norm1")
        x = x + state[f"{name}.ls1.gamma"] * attention(y, y, y)[0]
        y = norm(x, f"{name}.norm2")
        if f"{name}.mlp.w12.weight" in state:
            left, right = linear(y, f"{name}.mlp.w12").chunk(2, -1)
            y = linear(left.sigmoid() * left * right, f"{name}.mlp.w3")
        else:
            y = linear(nn.functional.gelu(linear(y, f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
        x = x + state[f"{name}.ls2.gamma"] * y
    return norm(x, "norm")[:, 0]


@pytest.mark.parametrize("gated", [False, True])
def test_dinov2_is_the_transformer_that_its_file_says(gated):
    state = dinov2_state(gated)
    pixels = torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, wanted = DinoV2(state)(pixels), dinov2_by_hand(state, pixels, state["pos_embed"][:, 1:])
    assert torch.allclose(found, wanted, atol=1e-4)


def test_dinov2_scales_its_grid_by_a_tenth_of_a_patch_more():
    state = dinov2_state()
    pixels = torch.randn(1, 3, 112, 98, generator=torch.Generator().manual_seed(1))
    grid = state["pos_embed"][:, 1:].reshape(1, 5, 5, 128).permute(0, 3, 1, 2)
    places = nn.functional.interpolate(grid, scale_factor=(8.1 / 5, 7.1 / 5), mode="bicubic")
    assert places.shape[2:] == (8, 7)
    with torch.no_grad():
        found = DinoV2(state)(pixels)
        assert torch.allclose(found, dinov2_by_hand(state, pixels, places.flatten(2).mT), atol=1e-4)


def test_dinov2_takes_gray_images_and_its_label_has_the_digest(build, tmp_path):
    path = tmp_path / "dino.safetensors"
    safetensors.torch.save_file(dinov2_state(), path)
    extractor = build("dinov2", weights=str(path))
    gray = draw(2, GREY)
    features, logits = look(extractor, gray.repeat(1, 3, 1, 1))
    assert logits is None
    assert extractor.label == f"dinov2-{extractor.weights_sha256[:8]}"
    assert torch.equal(look(build("dinov2", GREY, weights=str(path)), gray)[0], features)


def test_dinov2_refuses_other_networks(build, tmp_path):
    path = tmp_path / "dino.safetensors"
    for change in ({"register_tokens": torch.zeros(1, 4, 128)}, {"norm.weight": torch.zeros(3)}):
        safetensors.torch.save_file({**dinov2_state(), **change}, path)
        with pytest.raises(CheckpointError, match="weights of another network .*without registers"):
            build("dinov2", weights=str(path))


# --- CLIP


def clip_state(seed=0, kind="vit"):
    """Random weights of a small CLIP, with what belongs to its other half."""
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    network = CLIPVisual(16, 32, 2, 64, 8) if kind == "vit" else CLIPVisual(16, 32, (1, 1, 1, 1), 2, None)
    state = {name: each.half().float() for name, each in random_state(network, seed).items()}
    rest = {
        "text_projection": torch.zeros(8, 16),
        "logit_scale": torch.tensor(1.0),
        "positional_embedding": torch.zeros(4, 8),
        "token_embedding.weight": torch.zeros(5, 8),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "ln_final.weight": torch.zeros(8),
    }
    return {**state, **rest}


class Holder(nn.Module):
    """Nothing but tensors by name, as a module."""

    def add(self, name, tensor):
        head, _, rest = name.partition(".")
        if not rest:
            self.register_buffer(head, tensor)
            return
        if head not in self._modules:
            self.add_module(head, Holder())
        self._modules[head].add(rest, tensor)


def clip_archive(path, seed=0, kind="vit"):
    """A TorchScript archive such as OpenAI's."""
    holder = Holder()
    for name, tensor in clip_state(seed, kind).items():
        holder.add(name, tensor)
    torch.jit.script(holder).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_clip_gives_what_torch_fidelity_gives(build, tmp_path, kind):
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

    safetensors.torch.save_file(clip_state(kind=kind), tmp_path / "clip.safetensors")
    clip_archive(tmp_path / "clip.pt", kind=kind)
    extractor = build("clip", weights=str(tmp_path / "clip.safetensors"))
    images = draw(3, DataSpec((3, 32, 32)))  # of the network's size, so that neither resizes
    features, logits = look(extractor, images)
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(tmp_path / "clip.pt"))
    (wanted,) = look(theirs.eval(), images)
    assert logits is None
    assert features.shape == (3, 16)
    assert torch.allclose(features, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
    assert extractor.label == f"clip-{extractor.weights_sha256[:8]}"
    assert "no file of OpenAI's" in extractor.notes[0]


def test_an_archive_of_clip_is_opened_only_if_it_is_the_published_one(build, tmp_path, monkeypatch):
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    path = tmp_path / "clip.pt"
    sha256 = clip_archive(path)
    opened = []
    original = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *given, **named: opened.append(given) or original(*given, **named))
    with pytest.raises(CheckpointError, match="none of it was run .*a file of OpenAI's"):
        build("clip", weights=str(path))
    assert not opened
    monkeypatch.setitem(MODEL_METADATA["clip-vit-b-16"], "hash", sha256)
    extractor = build("clip", weights=str(path))
    assert opened
    assert extractor.label == "clip-vit-b-16"
    assert extractor.notes == ()
    safetensors.torch.save_file(clip_state(), tmp_path / "clip.safetensors")
    other = build("clip", weights=str(tmp_path / "clip.safetensors"))
    assert torch.equal(look(extractor, draw(2))[0], look(other, draw(2))[0])


def test_clip_refuses_other_networks(build, tmp_path):
    path = tmp_path / "clip.safetensors"
    without = {name: each for name, each in clip_state().items() if name != "text_projection"}
    for state in (dinov2_state(), without):
        safetensors.torch.save_file(state, path)
        with pytest.raises(CheckpointError, match="weights of another network"):
            build("clip", weights=str(path))


# --- where weights are found


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


@pytest.mark.parametrize(
    ("name", "options", "url", "file"),
    [
        ("dinov2", {"size": "l"}, "dinov2_vitl14/dinov2_vitl14_pretrain.pth", "dinov2_vitl14_pretrain.pth"),
        ("clip", {"model": "rn50"}, "openaipublic.azureedge.net/clip/models/afeb0e10", "clip-rn50-afeb0e10"),
    ],
)
def test_without_a_network_an_error_says_what_to_fetch_and_where_to_put_it(build, no_network, name, options, url, file):
    with pytest.raises(CheckpointError) as error:
        build(name, **options)
    assert f"extractor '{name}' needs" in error.value.message
    assert url in error.value.hint
    assert str(no_network / file) in error.value.hint
    assert f"--extractor {name}:weights=FILE" in error.value.hint


def test_weights_are_found_where_torch_hub_puts_them(build, no_network, monkeypatch):
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    no_network.mkdir(parents=True)
    torch.save(dinov2_state(), no_network / "dinov2_vits14_pretrain.pth")
    assert look(build("dinov2", size="s"), draw(1))[0].shape == (1, 128)
    sha256 = clip_archive(no_network / "clip.pt")
    monkeypatch.setitem(MODEL_METADATA["clip-vit-b-32"], "hash", sha256)
    (no_network / "clip.pt").rename(no_network / f"clip-vit-b-32-{sha256}.pt")
    assert build("clip").label == "clip-vit-b-32"


# --- files of weights that are not


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
@pytest.mark.parametrize("form", ["pickle", "torch.save"])
@pytest.mark.parametrize("name", ["inception", "classifier", "torchvision", "torchscript", "dinov2", "clip"])
def test_a_file_that_would_run_code_is_refused_and_runs_none(build, tmp_path, name, form, ending):
    sign, path = tmp_path / "sign", tmp_path / f"evil.{ending}"
    content = io.BytesIO()
    (pickle.dump if form == "pickle" else torch.save)({"weight": Evil(sign)}, content)
    path.write_bytes(content.getvalue())
    options = {"model": "shufflenet_v2_x0_5"} if name == "torchvision" else {}
    with pytest.raises(CheckpointError) as error:
        build(name, weights=str(path), **options)
    assert "\n" not in str(error.value)
    assert not sign.exists()


def test_such_a_file_does_run_code_where_pickles_are_trusted(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "sign")))
    assert (tmp_path / "sign").exists()


# --- fingerprints, names, files of TorchScript


class Flat(nn.Module):
    """Pixels as they come, and the means of columns as logits."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.float().flatten(1) * self.factor, images.float().mean(dim=2).flatten(1)


@pytest.fixture
def flat_file(tmp_path):
    path = tmp_path / "flat.pt"
    torch.jit.script(Flat()).save(str(path))
    return path


def test_changed_weights_change_fingerprint_and_label(build, flat_file, shuffled, shuffle_file, shuffle_net, tmp_path):
    def differ(one, other, file):
        assert fingerprint_of(one) != fingerprint_of(other)
        assert one.label != other.label
        assert fingerprint_of(one) == hashlib.sha256(Path(file).read_bytes()).hexdigest()

    torch.jit.script(Flat(2.0)).save(str(tmp_path / "other.pt"))
    first, second = (build("torchscript", weights=str(path)) for path in (flat_file, tmp_path / "other.pt"))
    differ(first, second, flat_file)
    state = {name: each.clone() for name, each in shuffle_net.state_dict().items()}
    state["fc.bias"][0] += 1
    other = str(tmp_path / "other.safetensors")
    safetensors.torch.save_file(state, other)
    changed = build("torchvision", model="shufflenet_v2_x0_5", weights=other, size=48)
    differ(shuffled, changed, shuffle_file)
    for name, make in (("dinov2", dinov2_state), ("clip", clip_state)):
        paths = [str(tmp_path / f"{name}{seed}.safetensors") for seed in (0, 1)]
        for seed, path in enumerate(paths):
            safetensors.torch.save_file(make(seed=seed), path)
        first, second = (build(name, weights=path) for path in paths)
        differ(first, second, paths[0])


def test_a_file_is_an_extractor_and_gets_the_pixels_that_it_asks_for(flat_file, image_folder, registry, tmp_path):
    data = open_data(str(image_folder))
    images = data.examples[:3].clone()
    plain = images.float().flatten(1)
    for text, wanted in (
        (str(flat_file), plain / 127.5 - 1),
        (f"torchscript:weights={flat_file},pixels=signed", plain / 127.5 - 1),
        (f"torchscript:weights={flat_file},pixels=unit", plain / 255),
        (f"torchscript:weights={flat_file},pixels=bytes", plain),
    ):
        extractor = open_extractor(text, data.spec, registry, data=lambda: data, cache=tmp_path)
        features, logits = look(extractor, images)
        assert torch.allclose(features, wanted, atol=1e-5)
        assert logits.shape == (3, 48)
        assert extractor.label.startswith("flat-")
    with pytest.raises(OptionError, match="'floats' is invalid"):
        open_extractor(
            f"torchscript:weights={flat_file},pixels=floats", data.spec, registry, data=lambda: data, cache=tmp_path
        )


# --- an extractor of a plugin

PLUGIN = '''
import torch
from ganforge import DataSpec, Extractor, hookimpl

class Thumbnail(Extractor):
    """Small images.

    Args:
        size: Pixels along an edge.
    """
    label = "thumbnail"
    preprocessing = "mean of areas"
    def __init__(self, data: DataSpec, *, size: int = 8) -> None:
        super().__init__()
        if size > data.shape[1]:
            raise ValueError(f"size is {size}, images have {data.shape[1]} pixels")
        self.pool = torch.nn.AdaptiveAvgPool2d(size)
    def forward(self, images):
        return self.pool(images.float() / 255).flatten(1), None

@hookimpl
def ganforge_extractors():
    return {"thumbnail": Thumbnail}
'''


def test_an_extractor_of_a_plugin_evaluates_like_ours(run, here, image_folder):
    (here / "thumbs.py").write_text(PLUGIN)
    common = ("--plugin", here / "thumbs.py", "eval", image_folder / "cat", "--data", image_folder / "dog", "--fid")
    code, printed, said = run(*common, "--extractor", "thumbnail:size=2", "--samples", 20, "--json")
    assert code == 0, said
    (row,) = json.loads(printed)
    assert row["metric"] == "fd_thumbnail"
    assert row["protocol"]["extractor"] == "thumbnail"
    cats, dogs = (open_data(str(image_folder / name)).examples.double() / 255 for name in ("cat", "dog"))
    cats, dogs = (each.unflatten(2, (2, 8)).unflatten(4, (2, 8)).mean(dim=(3, 5)).flatten(1) for each in (cats, dogs))
    shift = (cats.mean(0) - dogs.mean(0)).square().sum().item()
    product = torch.linalg.eigvals(torch.cov(cats.T) @ torch.cov(dogs.T)).real.clamp(min=0).sqrt().sum().item()
    wanted = shift + torch.cov(cats.T).trace().item() + torch.cov(dogs.T).trace().item() - 2 * product
    assert row["value"] == pytest.approx(wanted, rel=1e-3)
    code, _, said = run(*common, "--extractor", "thumbnail:size=99", "--samples", 20)
    assert code == 2
    assert "size is 99, images have 16 pixels" in said
    code, _, said = run(*common, "--extractor", "thumbnails", "--samples", 20)
    assert code == 2
    assert "'thumbnail'" in said


# --- ganforge extractor train


def test_a_classifier_is_trained_into_a_file_and_used_from_there(run, here, image_folder):
    code, printed, said = run(
        "extractor", "train", "--data", image_folder, "--epochs", 1, "--seed", 3, "--to", "my.safetensors", "--json"
    )
    assert code == 0, said
    found = json.loads(printed)
    data = open_data(str(image_folder))
    classifier = load_classifier(here / "my.safetensors")
    unseen = is_held_out(len(data), HOLDOUT)
    right = (classifier.predict(data.examples[unseen]) == data.labels[unseen]).double().mean().item()
    assert found["accuracy"] == right
    assert found["num_held_out"] == int(unseen.sum())
    assert (found["epochs"], found["seed"], found["path"]) == (1, 3, "my.safetensors")
    assert found["data_fingerprint"] == data.fingerprint
    assert found["command"] == "ganforge eval --fid --extractor my.safetensors"

    evaluate = found["command"].split()[1:]
    code, printed, said = run(*evaluate, image_folder, "--data", image_folder, "--samples", 10, "--json")
    assert code == 0, said
    assert json.loads(printed)[0]["metric"] == f"fd_{data.name}-classifier"


@pytest.mark.parametrize(
    ("accuracy", "num_classes", "guesses"), [(0.13, 10, True), (0.25, 10, False), (0.53, 2, True), (0.6, 2, False)]
)
def test_a_classifier_that_hardly_beats_guessing_is_told(accuracy, num_classes, guesses):
    classifier = Classifier(
        network=torch.nn.Identity(), shape=(1, 4, 4), class_names=tuple("abcdefghij"[:num_classes]), accuracy=accuracy,
        num_held_out=50, data_name="painted", data_fingerprint="f" * 64, seed=0, epochs=1,
    )  # fmt: skip
    told = classifier.describe_accuracy()
    assert told.startswith(f"it is right on {accuracy:.1%} of 50 held-out images")
    assert (f"; warning: guessing is right on {1 / num_classes:.1%}, so" in told) == guesses


def test_the_cache_holds_the_classifier_that_evaluation_finds(run, here, image_folder, registry, monkeypatch):
    from ganforge.data import cache_folder

    code, printed, said = run("extractor", "train", "--data", image_folder)
    assert code == 0, said
    data = open_data(str(image_folder))
    path = kept_as(data, cache_folder() / "classifiers")
    assert printed.splitlines()[0].startswith(f"{path}: it is right on ")
    assert printed.splitlines()[1] == "ganforge eval --fid --extractor classifier"
    again = train_classifier(data)
    kept = load_classifier(path).network.state_dict()
    assert all(torch.equal(kept[name], each) for name, each in again.network.state_dict().items())

    monkeypatch.setattr(classifier_module, "train_classifier", lambda *_, **__: pytest.fail("trained again"))
    assert run("extractor", "train", "--data", image_folder)[0] == 0
    extractor = open_extractor("classifier", data.spec, registry, data=lambda: data, cache=cache_folder())
    assert extractor.accuracy == again.accuracy


def test_an_interrupted_training_leaves_nothing_behind(run, here, image_folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nn.functional, "cross_entropy", interrupt)
    code, _, _ = run("extractor", "train", "--data", image_folder, "--to", "my.safetensors")
    assert code == 130
    assert not list(here.glob("*.safetensors"))
    assert run("extractor", "train", "--data", image_folder)[0] == 130


def test_a_mistake_in_training_an_extractor_is_told_in_a_line(run, here, image_folder):
    (here / "there.safetensors").write_bytes(b"mine")
    train = ("extractor", "train", "--data", image_folder)
    for arguments, message in (
        ((*train, "--epochs", 2), "--epochs: the cache holds no such classifier - name a file: --to FILE"),
        ((*train, "--seed", 2), "--seed: the cache holds no such classifier"),
        ((*train, "--epochs", 0, "--to", "a.safetensors"), "--epochs: 0 is too small"),
        ((*train, "--to", "a.pt"), "--to a.pt: a classifier is a .safetensors file"),
        ((*train, "--to", "there.safetensors"), "already exists"),
        ((*train, "--to", "there.safetensors/a.safetensors"), "cannot write there.safetensors"),
        (("extractor", "train", "--data", image_folder / "cat"), "it needs labeled images of at least 2 classes"),
    ):
        code, printed, said = run(*arguments)
        assert code == 2
        assert not printed
        assert message in said.splitlines()[-1]
    assert (here / "there.safetensors").read_bytes() == b"mine"


def test_a_cache_that_cannot_be_written_is_told_before_training(run, here, image_folder, monkeypatch):
    (here / "file").write_text("")
    monkeypatch.setenv("GANFORGE_CACHE", str(here / "file"))
    monkeypatch.setattr(classifier_module, "train_classifier", lambda *_, **__: pytest.fail("trained"))
    code, _, said = run("extractor", "train", "--data", image_folder)
    assert code == 2
    assert f"cannot write {here / 'file' / 'classifiers'}" in said


# --- the author's check


def test_ours_pass_the_check(registry, flat_file, shuffle_file, image_folder, tmp_path):
    data = open_data(str(image_folder))
    train_classifier(data, epochs=1).save(tmp_path / "classifier.safetensors")
    safetensors.torch.save_file(dinov2_state(), tmp_path / "dino.safetensors")
    safetensors.torch.save_file(clip_state(), tmp_path / "clip.safetensors")
    factory = {name: registry.part("extractor", name).factory for name in registry.names("extractor")}
    check_extractor(factory["classifier"], data.spec, weights=str(tmp_path / "classifier.safetensors"))
    check_extractor(factory["torchvision"], GREY, model="shufflenet_v2_x0_5", weights=shuffle_file, size=32)
    for spec in (COLOUR, GREY):
        check_extractor(factory["torchscript"], spec, weights=str(flat_file), pixels="unit")
        check_extractor(factory["dinov2"], spec, weights=str(tmp_path / "dino.safetensors"))
        check_extractor(factory["clip"], spec, weights=str(tmp_path / "clip.safetensors"))


class Plain(Extractor):
    """Pixels as they are."""

    label = "plain"
    preprocessing = "none"

    def __init__(self, data: DataSpec, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, images):
        return self.change(images.float().flatten(1) * self.scale / 255), None

    def change(self, features):
        return features


def broken(**members):
    return type("Broken", (Plain,), members)


class Unseeded(Plain):
    """Random weights."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.layer = nn.Linear(3 * 32 * 32, 8)

    def change(self, features):
        return self.layer(features)


class Strange(Plain):
    """An option that does not survive."""

    def __init__(self, data: DataSpec, *, scale: float = float("nan")) -> None:
        super().__init__(data)


def in_place(self, images):
    images.zero_()
    return images.float().flatten(1) + 1, None


def train_again(self, features):
    self.train()
    return features


def test_what_an_author_writes_passes_the_check():
    check_extractor(Plain)
    check_extractor(Plain, DataSpec((1, 9, 7)), scale=2.0)
    logits = broken(forward=lambda self, images: (images.float().flatten(1), images.float().mean(dim=(2, 3))))
    check_extractor(logits)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (broken(label=""), "label is ''"),
        (broken(preprocessing=None), "preprocessing is None"),
        (broken(notes="alone"), "it must be a tuple of sentences"),
        (broken(change=lambda self, each: each.double()), "features are torch.float64; they must be float32"),
        (
            broken(change=lambda self, each: each[:, :1]),
            r"features of 5 images are \(5, 1\); they must be a row per image",
        ),
        (broken(change=lambda self, each: each[:, :, None]), r"features of 5 images are \(5, 3072, 1\)"),
        (broken(change=lambda self, each: each[:1]), r"features of 5 images are \(1, 3072\)"),
        (broken(change=lambda self, each: each.log() * 0), "features are not finite"),
        (broken(change=lambda self, each: each * 0 + 1), "forward ignores its input"),
        (broken(change=lambda self, each: nn.functional.dropout(each)), "avoid random numbers"),
        (broken(change=lambda self, each: each - each.mean(0)), "in a batch of 1 than in one of 5"),
        (broken(change=train_again), "switched a module to training mode"),
        (broken(forward=in_place), "forward changed its input"),
        (broken(forward=lambda self, images: images.float().flatten(1)), "forward returned Tensor"),
        (broken(forward=lambda self, images: (images.float().flatten(1), 3)), "logits are int"),
        (Unseeded, "two instances gave different features"),
        (Strange, "options of Strange change when they are saved as JSON|is not a finite number"),
        (lambda data: nn.Identity(), "derive from ganforge.Extractor"),
    ],
)
def test_what_breaks_the_contract_is_told(factory, message):
    with pytest.raises((AssertionError, OptionError), match=message):
        check_extractor(factory)


# --- the guide

PAGE = (Path(__file__).parent.parent / "docs/guide/extractors.md").read_text()


def test_the_plugin_of_the_guide_passes_the_check():
    from ganforge.plugins.loading import collect_parts

    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "@hookimpl" in block]
    module = types.ModuleType("thumbnail")
    exec(code, vars(module))
    (thumbnail,) = collect_parts(module)["extractor"].values()
    check_extractor(thumbnail, size=4)
    check_extractor(thumbnail, GREY)


def test_the_guide_names_every_extractor_and_no_other(registry):
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## ")[0], re.MULTILINE))
    assert named == set(registry.names("extractor"))
    asked = re.findall(r"--extractor ([\w.]+)", PAGE)
    known = named | {"thumbnail", "symbols.safetensors", "xray.pt"}
    assert set(asked) <= known


@pytest.mark.parametrize("channels", [1, 5])
def test_the_random_network_equals_an_independent_computation_in_float64(build, channels):
    images = torch.randint(0, 256, (3, channels, 16, 32), dtype=torch.uint8)
    extractor = build("random", DataSpec((channels, 16, 32)))
    maps, means = images.double() / 127.5 - 1, []
    for weight in extractor.weights:
        columns = nn.functional.unfold(maps, 3, padding=1)  # [N, C * 9, H * W]
        maps = (weight.double().flatten(1) @ columns).clamp(min=0).unflatten(2, maps.shape[2:])
        means.append(maps.mean((2, 3)))
        maps = maps.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    found, logits = look(extractor, images)
    assert (found.shape, logits) == ((3, 448), None)
    assert torch.allclose(found.double(), torch.cat(means[1:], 1), atol=1e-5)
    again = build("random", DataSpec((channels, 16, 32)))
    assert all(torch.equal(*each) for each in zip(extractor.weights, again.weights, strict=True))


def test_the_random_network_refuses_small_images(build):
    with pytest.raises(OptionError, match="at least 8 pixels"):
        build("random", DataSpec((1, 4, 16)))
