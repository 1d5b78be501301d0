"""Folders have the inception score and the kernel distance that torch-fidelity gives of the same files."""

import json
import warnings

import numpy as np
import torch
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

WEIGHT = torch.randn(3 * 64, 6, generator=torch.Generator().manual_seed(0))


class Linear(torch.nn.Module):
    """Both the extractor that ganforge opens and what torch-fidelity's calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", WEIGHT)

    def forward(self, images):
        found = images.float().flatten(1) / 255 @ self.weight
        return found, found


class Registered(FeatureExtractorBase):
    """The same as torch-fidelity asks for it."""

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.network = Linear()

    get_provided_features_list = staticmethod(lambda: ("linear",))
    get_default_feature_layer_for_metric = staticmethod(lambda metric: "linear")
    can_be_compiled = staticmethod(lambda: False)

    def forward(self, images):
        return self.network(images)[:1]


def write(folder, count, brightest, seed):
    folder.mkdir()
    source = np.random.default_rng(seed)
    for number in range(count):  # 10.png comes before 2.png
        pixels = source.integers(0, brightest, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{('png', 'PNG')[number % 2]}")


def test_folders_have_the_values_of_torch_fidelity_on_the_same_files(here, run):
    write(here / "fakes", 60, 200, 1)
    write(here / "reals", 70, 256, 2)
    torch.jit.script(Linear()).save("linear.pt")
    torch_fidelity.register_feature_extractor("linear", Registered)
    expected = torch_fidelity.calculate_metrics(
        input1="fakes", input2="reals", isc=True, kid=True, kid_subset_size=60, feature_extractor="linear", cuda=False,
        cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    asked = ("--is", "--kid", "--extractor", "torchscript:weights=linear.pt,pixels=bytes", "--json")
    code, out, err = run("eval", "fakes", "--data", "reals", *asked)
    assert code == 0, err
    values = {row["metric"].partition("_")[0]: row["value"] for row in json.loads(out)}
    assert abs(values["is"] / expected["inception_score_mean"] - 1) < 1e-6
    assert abs(values["kd"] / expected["kernel_inception_distance_mean"] - 1) < 1e-6


def test_folders_that_are_not_square_are_compared_and_data_are_brought_to_their_size(here, run):
    source = np.random.default_rng(0)
    for folder, width, height in (("fakes", 48, 32), ("same", 48, 32), ("others", 40, 40)):
        (here / folder).mkdir()
        for number in range(24):
            Image.fromarray(source.integers(0, 256, (height, width, 3), np.uint8)).save(here / folder / f"{number}.png")
    torch.jit.trace(
        torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()), torch.zeros(2, 3, 32, 48)
    ).save("pool.pt")
    for data in ("same", "others"):
        code, out, err = run("eval", "fakes", "--data", data, "--fid", "--extractor", "pool.pt", "--json")
        assert code == 0, err
        assert json.loads(out)[0]["protocol"]["images"] == "32x48 with 3 channels"
