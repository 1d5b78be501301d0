"""Linear separability: whether planes through latent space divide images with an attribute from those without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.core.images import to_uint8
from ganforge.evaluation.classes import attribute_bits, attribute_names, open_for_classes
from ganforge.evaluation.metrics.planes import conditional_entropy, entropy, predict_sides
from ganforge.evaluation.metrics.spaces import chosen_spaces
from ganforge.evaluation.results.narration import Progress, Say, no_progress
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.subjects.runs import RunProvenance, TrainedRun
from ganforge.sampling import draw_latents

SEPARABILITY_SAMPLES = 10_000
"""Images, unless the user says otherwise; the paper takes 200,000."""

PROTOCOL = (
    "Karras et al. 2019, section 4.2: exp(sum_i H(Y_i | X_i)), natural logarithm, over the attributes i of the data; "
    "Y: whether a classifier trained apart reads the attribute, in the half of the images of which it is surest; X: "
    "the side of a plane through latent space, that of a linear SVM (squared hinge loss, C = 1, standardised latents) "
    "fitted to one half of these and applied to the other, in turn; labels in the data's proportions"
)


@dataclass(frozen=True, kw_only=True)
class AttributeSeparability:
    """How well one attribute is separated.

    Attributes:
        name: Of the attribute.
        share: Of the images that were kept, those that have it, in [0, 1].
        entropy: H(Y) in nats.
        conditional: H(Y | X) in nats for the plane in each space; 0 if the plane tells all, H(Y) if it tells nothing.
    """

    name: str
    share: float
    entropy: float
    conditional: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SeparabilityResult:
    """Separabilities and how they came about.

    Attributes:
        metric: ``separability``.
        found: ``exp(sum_i H(Y_i | X_i))`` in each space, 1 or more; lower is more separable.
        chance: What it would be if no plane told anything, ``exp(sum_i H(Y_i))``.
        attributes: The same by attribute.
        notes: Which attributes were left out and why, in sentences.
        provenance: What the numbers must be quoted with.
    """

    metric: str = "separability"
    found: dict[str, float]
    chance: float
    attributes: tuple[AttributeSeparability, ...]
    notes: tuple[str, ...]
    provenance: RunProvenance

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `RunProvenance.quote`."""
        return self.provenance.quote()

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        details = {"chance": self.chance, "attributes": [asdict(each) for each in self.attributes]}
        return [
            Measured(name=f"separability-{space}", value=value, better="lower", details=details)
            for space, value in self.found.items()
        ]

    def describe(self) -> str:
        """The numbers in words, a line each."""
        values = "   ".join(f"{space} {value:.4f}" for space, value in self.found.items())
        lines = [f"separability  {values}   (1 is best, {self.chance:.4f} is chance)"]
        lines.append("attributes    nats still missing once the side of the plane is known, of those missing before")
        width = max(len(each.name) for each in self.attributes)
        for each in self.attributes:
            values = "   ".join(f"{space} {value:.4f}" for space, value in each.conditional.items())
            lines.append(f"  {each.name:{width}}  {values}   of {each.entropy:.4f}")
        if self.provenance.classifier is not None:
            lines.append(f"classifier    {self.provenance.classifier['accuracy']:.2%} right on held-out images")
        return "\n".join(lines)


def attribute_scores(logits: Tensor, num_attributes: int) -> Tensor:
    """``ln(p / (1 - p))`` of each attribute, float64 ``[N, A]``, from logits ``[N, 2 ** A]`` of all combinations."""
    has = attribute_bits(torch.arange(2**num_attributes), num_attributes)
    logits = logits.double()
    columns = [logits[:, mask].logsumexp(1) - logits[:, ~mask].logsumexp(1) for mask in has.T]
    return torch.stack(columns, dim=1)


def separate(
    spaces: dict[str, Tensor], scores: Tensor, names: Sequence[str]
) -> tuple[tuple[AttributeSeparability, ...], tuple[str, ...]]:
    """Separate attributes, one after the other, in each space.

    Args:
        spaces: Latents ``[N, D]`` by the name of their space; D may differ.
        scores: ``[N, A]``: above 0 if the image of a latent has an attribute, and the surer, the farther from 0. Of
            each attribute the half of the images that is surest is kept.
        names: Of the attributes.

    Returns:
        The attributes, and a sentence for each that was left out because all images that were kept are alike in it.
    """
    found, notes = [], []
    for name, score in zip(names, scores.T, strict=True):
        kept = score.abs().argsort(descending=True, stable=True)[: (len(score) + 1) // 2].sort().values
        truth = score[kept] > 0
        if bool(truth.all()) or not bool(truth.any()):
            has = "have" if bool(truth.all()) else "lack"
            notes.append(f"{name} is left out: all {len(kept)} images of which the classifier is surest {has} it")
            continue
        conditional = {
            space: conditional_entropy(truth, predict_sides(points[kept], truth)) for space, points in spaces.items()
        }
        share = float(truth.double().mean())
        found.append(AttributeSeparability(name=name, share=share, entropy=entropy(truth), conditional=conditional))
    return tuple(found), tuple(notes)


def separability_of_run(
    run: TrainedRun,
    *,
    count: int | None,
    seed: int,
    truncation: float,
    space: str | None = None,
    classifier: Path | None = None,
    progress: Progress = no_progress,
    say: Say = lambda text: None,
) -> SeparabilityResult:
    """Measure how linearly the attributes of a run's data lie in the latent spaces of its generator.

    Args:
        run: The generator and its data.
        count: Generated images; None for 10,000.
        seed: Of the first image.
        truncation: 1 for none.
        space: ``z`` or ``w``; None for all that the generator has.
        classifier: A file; None to have one trained on the run's data and kept in the cache.
        progress: Shows how far it is.
        say: Told where the classifier comes from, and which attributes were left out.

    Raises:
        OptionError: The data declare no attributes, there is no such space, the generator cannot be truncated, or what
            it draws is alike in every attribute.
        CheckpointError: The classifier is damaged or does not fit.
        DataError: The data are too few to train a classifier on.
        PluginError: The data set's attributes do not fit its classes.
    """
    names = attribute_names(run.dataset, run.data.spec.num_classes) if run.data.spec.is_image else ()
    if not names:
        raise OptionError(
            f"{run.data.name} declares no attributes of images to separate",
            "avatars does, and so does a data set of a plugin that has `attribute_names`",
        )
    wanted = chosen_spaces(run.generator, run.data.spec, space)
    count = count or SEPARABILITY_SAMPLES
    judge = open_for_classes(run, classifier, progress, say)
    logits, done = [], 0
    with progress("images") as show:
        for batch in run.generate(count, seed, truncation):
            logits.append(judge.logits(to_uint8(batch)))
            done += len(batch)
            show(done, count)
    z = draw_latents(count, run.generator.z_dim, seed)
    spaces = {name: z if name == "z" else _styles(run, z, seed, truncation) for name in wanted}
    with progress("planes"):
        attributes, notes = separate(spaces, attribute_scores(torch.cat(logits), len(names)), names)
    for note in notes:
        say(f"note: {note}")
    if not attributes:
        raise OptionError(
            "of every attribute the images are all alike, so there is nothing to separate",
            "look at what the generator draws: ganforge eval --modes",
        )
    found = {name: math.exp(sum(each.conditional[name] for each in attributes)) for name in wanted}
    return SeparabilityResult(
        found=found,
        chance=math.exp(sum(each.entropy for each in attributes)),
        attributes=attributes,
        notes=notes,
        provenance=run.provenance(PROTOCOL, count=count, seed=seed, truncation=truncation, classifier=judge),
    )


@torch.no_grad()
def _styles(run: TrainedRun, z: Tensor, seed: int, truncation: float) -> Tensor:
    """Styles ``[N, w_dim]`` on the CPU: the first layer's, since mapping networks give all layers the same."""
    generator = run.generator.eval()
    assert isinstance(generator, StyleGenerator)
    labels = run.draw_labels(len(z), seed)
    found = []
    for chosen in torch.split(torch.arange(len(z)), 256):
        classes = None if labels is None else labels[chosen].to(run.device)
        found.append(generator.mapping(z[chosen].to(run.device), classes, truncation)[:, 0].cpu())
    return torch.cat(found)
