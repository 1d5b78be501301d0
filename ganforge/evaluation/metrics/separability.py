"""Linear separability of attributes in latent space, by linear SVMs and conditional entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Request
from ganforge.core.images import to_uint8
from ganforge.evaluation.classes import attribute_bits, attribute_names, describe_classifier, open_for_classes
from ganforge.evaluation.metrics.spaces import chosen_spaces
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.sampling import draw_latents

SEPARABILITY_SAMPLES = 10_000
"""Default number of images; the paper uses 200,000."""

PROTOCOL = (
    "Karras et al. 2019, section 4.2: exp(sum_i H(Y_i | X_i)), natural logarithm, over the attributes i of the data; "
    "Y: whether a classifier trained apart reads the attribute, in the half of the images of which it is surest; X: "
    "the side of a plane through latent space, that of a linear SVM (squared hinge loss, C = 1, standardised latents) "
    "fitted to one half of these and applied to the other, in turn; labels in the data's proportions"
)

_MAX_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class AttributeSeparability:
    """Separability of one attribute.

    Attributes:
        name: Name of the attribute.
        share: Share of the kept images with the attribute, in [0, 1].
        entropy: H(Y) in nats.
        conditional: H(Y | X) in nats by space; 0 for perfect separation, H(Y) for none.
    """

    name: str
    share: float
    entropy: float
    conditional: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Separability:
    """Separability of all attributes.

    Attributes:
        values: ``exp(sum_i H(Y_i | X_i))`` by space, 1 or more; lower is more separable.
        chance: Value without any separation, ``exp(sum_i H(Y_i))``.
        attributes: Separability per attribute.
        notes: Sentences about attributes left out.
    """

    values: dict[str, float]
    chance: float
    attributes: tuple[AttributeSeparability, ...]
    notes: tuple[str, ...]


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Measure how linearly separable the attributes of a run's data are in latent space."""
    names = attribute_names(run.dataset, run.data.spec.num_classes) if run.data.spec.is_image else ()
    if not names:
        raise OptionError(
            f"{run.data.name} declares no attributes of images to separate",
            "use avatars, or a data set of a plugin with `attribute_names`",
        )
    wanted = chosen_spaces(run.generator, run.data.spec, request.space)
    count = request.count or SEPARABILITY_SAMPLES
    classifier = open_for_classes(run, request.classifier, reporter)
    logits, done = [], 0
    with reporter.progress("images") as show:
        for batch in run.generate(count, request.seed, request.truncation):
            logits.append(classifier.logits(to_uint8(batch)))
            done += len(batch)
            show(done, count)
    z = draw_latents(count, run.generator.z_dim, request.seed)
    spaces = {name: z if name == "z" else _styles(run, z, request) for name in wanted}
    with reporter.progress("linear SVMs"):
        attributes, notes = separate(spaces, attribute_scores(torch.cat(logits), len(names)), names)
    for note in notes:
        reporter.log(f"note: {note}")
    if not attributes:
        raise OptionError(
            "images are equal in every attribute, so none can be separated",
            "look at the generated images: ganforge eval --modes",
        )
    found = Separability(
        values={name: math.exp(sum(each.conditional[name] for each in attributes)) for name in wanted},
        chance=math.exp(sum(each.entropy for each in attributes)),
        attributes=attributes,
        notes=notes,
    )
    details = {"chance": found.chance, "attributes": [asdict(each) for each in attributes]}
    return RunResult(
        found=found,
        values=[
            Measured(name=f"separability-{space}", value=value, better="lower", details=details)
            for space, value in found.values.items()
        ],
        text="\n".join([*_describe(found), describe_classifier(classifier)]),
        protocol=run.protocol(PROTOCOL, request, count, classifier),
        seed=request.seed,
    )


def attribute_scores(logits: Tensor, num_attributes: int) -> Tensor:
    """Return ``ln(p / (1 - p))`` of each attribute, float64 ``[N, A]``, from class logits ``[N, 2 ** A]``."""
    has = attribute_bits(torch.arange(2**num_attributes), num_attributes)
    logits = logits.double()
    columns = [logits[:, mask].logsumexp(1) - logits[:, ~mask].logsumexp(1) for mask in has.T]
    return torch.stack(columns, dim=1)


def separate(
    spaces: dict[str, Tensor], scores: Tensor, names: Sequence[str]
) -> tuple[tuple[AttributeSeparability, ...], tuple[str, ...]]:
    """Separate each attribute in each space.

    Args:
        spaces: Latents ``[N, D]`` by space; D may differ.
        scores: ``[N, A]``, above 0 for images with the attribute. The half with the largest absolute scores is kept.
        names: Names of the attributes.

    Returns:
        The attributes, and a sentence for each that is left out because all kept images are equal in it.
    """
    found, notes = [], []
    for name, score in zip(names, scores.T, strict=True):
        kept = score.abs().argsort(descending=True, stable=True)[: (len(score) + 1) // 2].sort().values
        truth = score[kept] > 0
        if bool(truth.all()) or not bool(truth.any()):
            has = "have" if bool(truth.all()) else "lack"
            notes.append(f"{name} is left out: all {len(kept)} images with the most certain scores {has} it")
            continue
        conditional = {
            space: conditional_entropy(truth, predict_sides(points[kept], truth)) for space, points in spaces.items()
        }
        share = float(truth.double().mean())
        found.append(AttributeSeparability(name=name, share=share, entropy=entropy(truth), conditional=conditional))
    return tuple(found), tuple(notes)


def fit_plane(points: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    r"""Fit a linear SVM: the plane ``normal . x + offset = 0`` between two classes of points.

    .. math:: \min_{v, b} \tfrac12 |v|^2 + \sum_n \max(0, 1 - y_n (v \cdot \tilde x_n + b))^2

    y is 1 or -1; each coordinate of x is standardized. The loss is convex and piecewise quadratic, so Newton's method
    converges in a few steps (Keerthi and DeCoste 2005). Computed in float64; deterministic.

    Args:
        points: ``[N, D]``.
        sides: bool ``[N]``.

    Returns:
        Normal ``[D]`` and offset, a scalar, in float64; points with True are on the positive side.
    """
    x = points.double()
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    x = (x - mean) / deviation
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    y = sides.double() * 2 - 1
    weight = torch.ones(x.shape[1], dtype=torch.float64, device=x.device)
    weight[-1] = 1e-9  # the offset is free; above 0 for a unique solution

    def loss(plane: Tensor) -> float:
        return float((weight * plane.square()).sum() / 2 + (1 - y * (x @ plane)).clamp(min=0).square().sum())

    plane = torch.zeros_like(weight)
    for _ in range(_MAX_STEPS):
        missed = (1 - y * (x @ plane)).clamp(min=0)
        near = x[missed > 0]
        gradient = weight * plane - 2 * x.T @ (y * missed)
        if float(gradient.abs().max()) < 1e-9 * len(x):
            break
        step = torch.linalg.solve(torch.diag(weight) + 2 * near.T @ near, gradient)
        least, length = loss(plane), 1.0
        while loss(plane - length * step) > least - 1e-4 * length * float(gradient @ step) and length > 1e-9:
            length /= 2
        plane = plane - length * step
    normal = plane[:-1] / deviation
    return normal, plane[-1] - normal @ mean


def predict_sides(points: Tensor, sides: Tensor) -> Tensor:
    """Predict the side of each point ``[N, D]`` by 2-fold cross-validation: even and odd rows.

    Without it the result would be optimistic: a plane in D dimensions separates any D + 1 points.
    """
    found = torch.empty_like(sides)
    for this in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - this.start, None, 2)
        normal, offset = fit_plane(points[other], sides[other])
        found[this] = points[this].double() @ normal + offset > 0
    return found


def entropy(truth: Tensor) -> float:
    """Return H(Y) in nats of bool ``[N]``."""
    share = float(truth.double().mean())
    return -sum(each * math.log(each) for each in (share, 1 - share) if each > 0)


def conditional_entropy(truth: Tensor, known: Tensor) -> float:
    r"""Return H(Y | X) in nats of bool ``[N]`` each.

    .. math:: H(Y \mid X) = -\sum_{x, y} p(x, y) \ln \frac{p(x, y)}{p(x)}
    """
    return sum(float(each.double().mean()) * entropy(truth[each]) for each in (known, ~known) if bool(each.any()))


@torch.no_grad()
def _styles(run: TrainedRun, z: Tensor, request: Request) -> Tensor:
    """Return the first layer's styles ``[N, w_dim]`` on the CPU; mapping networks give all layers the same."""
    generator = run.generator.eval()
    assert isinstance(generator, StyleGenerator)
    labels = run.draw_labels(len(z), request.seed)
    found = []
    for chosen in torch.split(torch.arange(len(z)), 256):
        classes = None if labels is None else labels[chosen].to(run.device)
        found.append(generator.mapping(z[chosen].to(run.device), classes, request.truncation)[:, 0].cpu())
    return torch.cat(found)


def _describe(found: Separability) -> list[str]:
    values = "   ".join(f"{space} {value:.4f}" for space, value in found.values.items())
    lines = [f"separability  {values}   (1 is best, {found.chance:.4f} is chance)"]
    lines.append("attributes    conditional entropy in nats given the side of the plane, of the entropy")
    width = max(len(each.name) for each in found.attributes)
    for each in found.attributes:
        values = "   ".join(f"{space} {value:.4f}" for space, value in each.conditional.items())
        lines.append(f"  {each.name:{width}}  {values}   of {each.entropy:.4f}")
    return lines
