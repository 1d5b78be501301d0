"""CTGAN (Xu 2019, arXiv:1907.00503), with this file as its plugin: mixed columns, requested values, packs of rows."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softmax

from ganforge import DataSpec, Discriminator, Generator, Number, Pair, Recipe, Regularizer, RunMetric, Step, hookimpl
from ganforge.sampling import draw_latents
from ganforge.testing import check_discriminator, check_generator

COLUMNS = (slice(1, 3), slice(3, 6), slice(6, 8))  # one-hot mode, color and flag; number 0 is the value within its mode
MEANS, DEVIATIONS = torch.tensor([-2.0, 3.0]), torch.tensor([0.3, 0.5])


def encode(value, color, flag):
    """Mode-specific normalization: the mode that a value most likely comes from, and the value relative to it."""
    mode = (((value[:, None] - MEANS) / DEVIATIONS).square() / 2 + DEVIATIONS.log()).argmin(1)
    within = (value - MEANS[mode]) / (4 * DEVIATIONS[mode])
    return torch.cat([within[:, None], torch.eye(2)[mode], torch.eye(3)[color], torch.eye(2)[flag]], 1)


def decode(rows):
    mode, color, flag = (rows[:, column].argmax(1) for column in COLUMNS)
    return MEANS[mode] + 4 * DEVIATIONS[mode] * rows[:, 0], color, flag


def table(*, count: int = 2000):
    """Training by sampling: a column, one of its values by the logarithm of its frequency, and a row that has it."""
    draw = torch.Generator().manual_seed(0)
    color = torch.multinomial(torch.tensor([0.9, 0.08, 0.02]), count, True, generator=draw)
    mode = (torch.rand(count, generator=draw) < torch.tensor([0.1, 0.9, 0.9])[color]).long()
    flag = (torch.rand(count, generator=draw) < 0.1 + 0.8 * mode).long()
    rows = encode(MEANS[mode] + DEVIATIONS[mode] * torch.randn(count, generator=draw), color, flag)
    items = []
    for labels, start in ((color, 0), (flag, 3)):
        frequencies = labels.bincount()
        weights = (frequencies.log1p() / frequencies)[labels]
        for index in torch.multinomial(weights, count // 2, True, generator=draw).tolist():
            items.append((rows[index], torch.eye(5)[start + labels[index]]))
    return items


class Rows(Generator):
    """Residual layers, and Gumbel softmax for one-hot columns; its noise is a part of the latents."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.z_dim = 16 + data.shape[0] - 1
        widths = [16 + len(data.numbers) + 64 * layer for layer in range(3)]
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(n, 64), nn.BatchNorm1d(64), nn.ReLU()) for n in widths[:2])
        self.last = nn.Linear(widths[2], data.shape[0])

    def scores(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        joint = torch.cat([z[:, :16], labels], 1)
        for layer in self.layers:
            joint = torch.cat([joint, layer(joint)], 1)
        return self.last(joint)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        assert labels is not None
        scores = self.scores(z, labels)
        uniform = (torch.erf(z[:, 16:] / 2**0.5) / 2 + 0.5).clamp(1e-6, 1 - 1e-6)
        mode, color, flag = ((scores[:, 1:] - (-uniform.log()).log()) / 0.2).split([2, 3, 2], 1)
        return torch.cat([scores[:, :1].tanh(), softmax(mode, 1), softmax(color, 1), softmax(flag, 1)], 1)


class Packs(Discriminator):
    """Judges packs of rows and their requests (PacGAN)."""

    def __init__(self, data: DataSpec, *, pack: int = 10) -> None:
        super().__init__()
        self.size = pack * (data.shape[0] + len(data.numbers))
        self.layers = nn.Sequential(nn.Linear(self.size, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, images, labels=None):
        return self.layers(torch.cat([images, labels], 1).view(-1, self.size)).squeeze(1)


class Requested(Regularizer):
    """Cross-entropy between the requested value and the scores of its column."""

    def generator(self, step):
        scores = step.compute(step.generator.scores, step.latents, step.labels)
        logs = torch.cat([scores[:, column].log_softmax(1) for column in COLUMNS[1:]], 1)
        return -(logs * step.labels).sum(1).mean()


class Marginals(RunMetric):
    """Mean total variation distance of the columns, in 20 bins."""

    better = "lower"

    def measure(self, run, request, reporter):
        made = torch.cat([*run.generate(request.count or self.samples, request.seed, request.truncation)]).cpu()
        shares = [[each.float().histc(20, -4, 6) / len(each) for each in decode(x)] for x in (run.data.examples, made)]
        return sum((a - b).abs().sum().item() / 2 for a, b in zip(*shares, strict=True)) / 3


SETTINGS = {
    "data": {"source": "table"}, "generator": {"name": "rows"}, "discriminator": {"name": "packs"},
    "loss": {"name": "wasserstein"}, "regularizers": {"gp": {}, "requested": {}},
    "optimizer": {"generator_lr": 2e-3, "discriminator_lr": 2e-3, "beta1": 0.5, "beta2": 0.9},
    "training": {"batch": 100, "device": "cpu", "engine": "eager", "precision": "float32", "threads": 1, "samples": 4},
}  # fmt: skip
ganforge_datasets, ganforge_generators = hookimpl(lambda: {"table": table}), hookimpl(lambda: {"rows": Rows})
ganforge_discriminators = hookimpl(lambda: {"packs": Packs})
ganforge_regularizers = hookimpl(lambda: {"requested": Requested})
ganforge_metrics = hookimpl(lambda: {"marginals": Marginals})
ganforge_recipes = hookimpl(lambda: {"ctgan": Recipe("Mixed columns", "Xu 2019, arXiv:1907.00503", SETTINGS)})


def test_the_parts_pass_the_checks_and_rows_are_decoded():
    data = DataSpec((8,), numbers=tuple(map(Number, "01234")))
    check_generator(Rows, data)
    check_discriminator(Packs, data, pack=2)
    columns = torch.tensor([-2.6, 3.2, 0.1]), torch.tensor([0, 1, 2]), torch.tensor([1, 0, 1])
    assert all(map(torch.allclose, decode(encode(*columns)), columns))
    network, row, labels = Rows(data), torch.zeros(1, 8), torch.eye(5)[1:2]
    network.scores = lambda z, labels: row
    step = Step(network, None, images=Pair(row, row), latents=row, labels=labels)
    assert Requested().generator(step).item() == pytest.approx(math.log(3))


@pytest.mark.slow
def test_it_trains_goes_on_draws_what_is_requested_is_exported_and_measured(here, run):
    def call(*words):
        code, out, err = run("--plugin", __file__, *words)
        assert code == 0, err
        return out

    for name, images in (("whole", 2000), ("halves", 1000)):
        call("train", "--arch", "ctgan", "--images", images, "--name", name)
    call("train", "--resume", "00001-halves", "--images", 2000)
    whole, halves = (here / "runs" / name / "generator.safetensors" for name in ("00000-whole", "00001-halves"))
    assert whole.read_bytes() == halves.read_bytes()
    call("train", "--resume", "00000-whole", "--images", 40_000)
    np.save("requests.npy", np.eye(5, dtype=np.float32)[[2, 0]])  # color c, 2 % of the table, and color a, in turn
    call("sample", whole.parent, "--condition", "requests.npy", "--count", 500, "--to", "rows.npy")
    value, color, _ = decode(rows := torch.from_numpy(np.load("rows.npy")))
    assert (color.view(250, 2) == torch.tensor([2, 0])).float().mean() > 0.95
    assert ((value.view(250, 2) > 1) == torch.tensor([True, False])).float().mean() > 0.75  # 90 % in the table
    call("export", whole.parent, "--torchscript", "--to", "rows.pt")
    z, labels = draw_latents(500, 23, seed=0), torch.eye(5)[[2, 0] * 250]
    assert torch.allclose(torch.jit.load("rows.pt")(z, labels), rows, atol=1e-5)
    assert json.loads(call("eval", whole.parent, "--metric", "marginals", "--json"))[0]["value"] < 0.1
