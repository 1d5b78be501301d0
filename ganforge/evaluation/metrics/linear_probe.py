"""Linear probe: accuracy of a linear classifier on the discriminator's convolutional features.

The protocol of Radford et al. 2016, section 5.1: the maps of all convolutional layers are max-pooled to 4x4, flattened
and concatenated, and a linear L2-SVM is trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.config.stored import stored_discriminator, stored_training
from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Measured, Request
from ganforge.core.images import to_float
from ganforge.data.splits import is_held_out
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import RunResult
from ganforge.evaluation.statistics import share_interval
from ganforge.evaluation.subjects.discriminators import load_discriminator
from ganforge.evaluation.subjects.image_sets import choose_some
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.runs.checkpoint import digest_tensors

PROTOCOL = (
    "share of held-out examples whose class a linear L2-SVM tells from the discriminator's convolutional features, "
    "max-pooled to 4x4 and standardized; it is trained on the examples of training (Radford et al. 2016, section 5.1)"
)

GRID = 4
"""Height and width of pooled maps."""

MAX_TRAINING = 10_000
"""Maximum number of examples that train the classifier."""

_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Share of held-out examples classified correctly, in [0, 1], over all and by class; and the number of features."""

    accuracy: float
    by_class: dict[str, float]
    num_features: int


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT, *, strength: float = 1e-3) -> RunResult:
    """Train a linear classifier on features of the training examples, and classify the held-out ones."""
    folder, data = run.folder, run.data
    config = folder.read_config()
    settings = stored_training(config)
    if not data.spec.is_image or data.labels is None:
        raise OptionError(f"{data.name} has no images with classes", "use images with labels")
    held_out = is_held_out(len(data), settings.holdout)
    if not held_out.any():
        raise OptionError(f"{folder.path} has no held-out examples", "train with --set training.holdout=0.1")
    part = stored_discriminator(run.registry, config)
    network, images = load_discriminator(run, part)
    network.to(run.device)
    shown = choose_some((~held_out).nonzero()[:, 0], MAX_TRAINING, settings.seed)
    tested = held_out.nonzero()[:, 0]
    title = f"discriminator '{part.name}'"
    with reporter.progress("features of the discriminator") as show:
        show(0, 2)
        training = pooled_features(network, data.examples[shown], title)
        show(1, 2)
        testing = pooled_features(network, data.examples[tested], title)
        show(2, 2)
    mean, spread = training.mean(0), training.std(0).clamp(min=1e-6)
    weights = train_svm((training - mean) / spread, data.labels[shown], data.spec.num_classes, strength)
    right = (scores((testing - mean) / spread, weights).argmax(1) == data.labels[tested]).double()
    found = LinearProbe(
        accuracy=float(right.mean()),
        by_class={
            name: float(right[of_class].mean())
            for label, name in enumerate(data.class_names)
            if (of_class := data.labels[tested] == label).any()
        },
        num_features=training.shape[1],
    )
    value = Measured(
        name="linear-probe",
        value=found.accuracy,
        interval=share_interval(found.accuracy, len(tested)),
        better="higher",
        parameters={"strength": strength},
        details={"by_class": found.by_class, "images": images, "discriminator": digest_tensors(network.state_dict())},
    )
    worst = min(found.by_class, key=found.by_class.__getitem__)
    return RunResult(
        found=found,
        values=[value],
        text=f"accuracy      {found.accuracy:.2%} of {len(tested)} held-out examples, from {found.num_features:,} "
        f"features of {len(shown)} examples\nworst class   {worst}, {found.by_class[worst]:.2%}",
        protocol={
            "protocol": PROTOCOL,
            "data_fingerprint": data.fingerprint,
            "num_examples": len(tested),
            "num_training": len(shown),
        },
        seed=settings.seed,
    )


@torch.inference_mode()
def pooled_features(network: nn.Module, examples: Tensor, title: str) -> Tensor:
    """Return the max-pooled maps of all convolutional layers, float32 ``[N, D]`` on the CPU."""
    device, rows = next(network.parameters()).device, []
    for chunk in torch.split(examples, _BATCH):
        images = to_float(chunk.to(device))
        with _recording_maps(network) as maps:
            try:
                network(images)
            except (OptionError, ValueError, TypeError) as error:
                raise OptionError(
                    f"{title} gives no features without a class: {error}", "train without conditioning"
                ) from error
        if not maps:
            raise OptionError(f"{title} has no convolutional layers", "train a convolutional one, such as dcgan")
        rows.append(torch.cat(maps, dim=1).float().cpu())
    return torch.cat(rows)


@contextmanager
def _recording_maps(network: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list that receives the pooled maps ``[N, D]`` of layers with a kernel, without 1x1 maps."""
    found: list[Tensor] = []

    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and max(output.shape[2:]) > 1:
            grid = min(GRID, output.shape[2]), min(GRID, output.shape[3])
            # Pooled at once: an activation may change the maps in place.
            found.append(functional.adaptive_max_pool2d(output, grid).flatten(1))

    handles = [
        module.register_forward_hook(record)
        for module in network.modules()
        if isinstance(weight := getattr(module, "weight", None), Tensor) and weight.dim() == 4
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def train_svm(features: Tensor, labels: Tensor, num_classes: int, strength: float) -> Tensor:
    """Train linear L2-SVMs by L-BFGS, one class against the rest; return ``[D + 1, K]``, the last row a bias.

    The objective is the mean squared hinge plus ``strength / 2`` times the squared norm of the weights without bias.
    """
    signs = functional.one_hot(labels, num_classes).to(features) * 2 - 1
    weights = torch.zeros(features.shape[1] + 1, num_classes, dtype=features.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        hinge = (1 - signs * scores(features, weights)).relu().square().mean(0).sum()
        value = hinge + strength / 2 * weights[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weights.detach()


def scores(features: Tensor, weights: Tensor) -> Tensor:
    """Return the scores ``[N, K]`` of features ``[N, D]``."""
    return features @ weights[:-1] + weights[-1]
