"""Purity of categories: do all images of one show the same class?"""

from __future__ import annotations

from pathlib import Path

import torch
from ganforge.core.images import to_uint8
from ganforge.evaluation.classifier import load_classifier
from ganforge.sampling import draw_latents

from ganforge_infogan.networks import CodeGenerator

COUNT = 500
"""Images per category."""


@torch.no_grad()
def describe_purity(generator: CodeGenerator, path: Path, seed: int) -> list[str]:
    """Return the most frequent class of each category, and the purity: the share of images with that of their own.

    The classifier is a file of ``ganforge extractor train``.
    """
    classifier = load_classifier(path)
    z, lines, shares, classes = draw_latents(COUNT, generator.z_dim, seed), [], [], set()
    for category in range(generator.categories):
        predicted = classifier.predict(to_uint8(generator(z, None, category)))
        counts = predicted.bincount()
        name, share = classifier.class_names[int(counts.argmax())], float(counts.max()) / COUNT
        lines.append(f"category {category}  {name}  {share:.1%}")
        shares.append(share)
        classes.add(name)
    mean = sum(shares) / len(shares)
    return [*lines, f"purity      {mean:.1%}, {len(classes)} of {len(classifier.class_names)} classes"]
