"""``ganforge eval``: metrics of generators, files and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.common import global_options, open_registry
from ganforge.cli.options import (
    Classifier,
    Device,
    Gpus,
    NoMarking,
    Out,
    Seed,
    argument,
    given_options,
    number,
    option,
    part_option,
    switch,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say
from ganforge.core.device import choose_device

if TYPE_CHECKING:
    from ganforge.evaluation.results.result import Evaluation

METRICS, INPUTS = "Metrics", "Metric options"

_SUBJECTS = "Runs (folder, name or number), generator files, folders or zips of images. Default: the newest run."
_SAMPLES = (
    "Generated examples. Default: 50k for feature metrics, 5k for class metrics, 1k for --ppl, 10k for --separability."
)


def evaluate(
    context: typer.Context,
    runs: Annotated[list[str] | None, argument("RUN", _SUBJECTS)] = None,
    fid: Annotated[bool, switch("--fid", "Frechet inception distance.", METRICS)] = False,
    fid_infinity: Annotated[
        bool, switch("--fid-infinity", "FID extrapolated to infinitely many samples.", METRICS)
    ] = False,
    kid: Annotated[bool, switch("--kid", "Kernel inception distance, unbiased for few images.", METRICS)] = False,
    inception_score: Annotated[bool, switch("--is", "Inception score, without real images.", METRICS)] = False,
    prc: Annotated[bool, switch("--prc", "Precision, recall, density and coverage.", METRICS)] = False,
    fd_dinov2: Annotated[
        bool, switch("--fd-dinov2", "Frechet distance of DINOv2 ViT-L/14, its own extractor.", METRICS)
    ] = False,
    cmmd: Annotated[
        bool, switch("--cmmd", "Discrepancy of CLIP ViT-L/14 embeddings, its own extractor.", METRICS)
    ] = False,
    patch_distance: Annotated[
        bool, switch("--patch-distance", "Distance of image patches; needs no pretrained weights.", METRICS)
    ] = False,
    memorization: Annotated[
        bool, switch("--memorization", "Memorization: nearest training images, and a test for copies.", METRICS)
    ] = False,
    authenticity: Annotated[
        bool, switch("--authenticity", "Share of samples that are no noisy copies of training images.", METRICS)
    ] = False,
    ppl: Annotated[bool, switch("--ppl", "Perceptual path length in latent space.", METRICS)] = False,
    modes: Annotated[
        bool, switch("--modes", "Mode coverage by classes, or by the modes of the data.", METRICS)
    ] = False,
    conditional_accuracy: Annotated[
        bool, switch("--conditional-accuracy", "Share of samples that show the requested class.", METRICS)
    ] = False,
    discriminator_accuracy: Annotated[
        bool,
        switch("--discriminator-accuracy", "Class accuracy of the discriminator on held-out examples.", METRICS),
    ] = False,
    linear_probe: Annotated[
        bool,
        switch("--linear-probe", "Accuracy of a linear classifier on the discriminator's features.", METRICS),
    ] = False,
    separability: Annotated[
        bool, switch("--separability", "Linear separability of the data's attributes in latent space.", METRICS)
    ] = False,
    metric: Annotated[
        list[str] | None,
        part_option("--metric", "metric", "Any metric, with options. Repeatable.", "NAME[:option=value]", METRICS),
    ] = None,
    everything: Annotated[
        bool, switch("--all", "All available metrics without an extractor of their own.", METRICS)
    ] = False,
    samples: Annotated[int | None, number("--samples", _SAMPLES, panel=INPUTS, least=2)] = None,
    references: Annotated[
        int | None, number("--references", "Real images. Default: all of the split.", panel=INPUTS, least=2)
    ] = None,
    split: Annotated[str, option("--split", "Split of the real images.", "train|held-out|all", INPUTS)] = "train",
    data: Annotated[str | None, option("--data", "Real images. Default: the run's data.", "SET", INPUTS)] = None,
    extractor: Annotated[
        str,
        part_option(
            "--extractor",
            "extractor",
            "Feature extractor, or its file, e.g. torchscript:weights=FILE,pixels=unit.",
            "NAME|FILE",
            INPUTS,
        ),
    ] = "inception",
    inception_weights: Annotated[
        Path | None, option("--inception-weights", "Inception weights on disk, for use offline.", "FILE", INPUTS)
    ] = None,
    classifier: Classifier = None,
    space: Annotated[
        str | None, option("--space", "Latent space of --ppl and --separability. Default: both.", "z|w", INPUTS)
    ] = None,
    distance: Annotated[
        str | None,
        option("--distance", "Image distance of --ppl. Default: classifier.", "classifier|lpips|inception", INPUTS),
    ] = None,
    lpips_weights: Annotated[
        Path | None,
        option("--lpips-weights", "Folder with both LPIPS files, for use offline.", "FOLDER", INPUTS),
    ] = None,
    raw: Annotated[bool, switch("--raw", "Evaluate the trained weights instead of the EMA weights.")] = False,
    seed: Seed = 0,
    truncation: Annotated[
        float, number("--truncation", "Truncation psi, if the generator has it.", "PSI", kind=float)
    ] = 1,
    device: Device = "auto",
    gpus: Gpus = None,
    no_marking: NoMarking = False,
    as_json: Annotated[bool, switch("--json", "Print all rows as one JSON list.")] = False,
    out: Out = Path("runs"),
) -> None:
    """Evaluate runs, files or images against real images, several metrics in one pass.

    Each value is appended to evaluations.jsonl with its protocol; ganforge eval compare compares several. Features of
    images are cached, so an interrupted evaluation resumes.
    """
    from ganforge.contract.metric import Request
    from ganforge.evaluation.evaluator import build_metrics, check_flags, open_evaluators
    from ganforge.evaluation.metrics import FLAGGED

    defaults = {"--extractor": "inception", "--split": "train"}
    given = {flag: value for flag, value in given_options(context).items() if value != defaults.get(flag)}
    registry = open_registry()
    wanted = build_metrics(registry, [each for each in FLAGGED if f"--{each}" in given], metric or [], everything)
    check_flags(given, wanted)
    request = Request(
        count=samples,
        references=references,
        split=split,
        extractor=extractor,
        seed=seed,
        truncation=truncation,
        inception_weights=inception_weights,
        lpips_weights=lpips_weights,
        classifier=classifier,
        space=space,
        distance=distance,
        marking=not no_marking,
    )
    torch_device = choose_device(device)

    from ganforge.core.distributed import is_launched, join_workers

    if gpus is not None and gpus > 1 and not is_launched():
        from ganforge.session.launcher import launch

        advice = "finished features are cached; run the same command again"
        raise typer.Exit(launch(gpus, torch_device, global_options.arguments, advice))
    workers = join_workers(torch_device)

    from ganforge.core.cache import open_cache
    from ganforge.evaluation.results.formatting import describe_notes
    from ganforge.evaluation.results.result import FILE

    found: list[Evaluation] = []
    with open_cache() as cache:
        evaluators = open_evaluators(
            runs or [None],
            out,
            wanted,
            request,
            data=data,
            raw=raw,
            lenient=everything,
            registry=registry,
            device=torch_device,
            cache=cache,
            workers=workers,
        )
        for evaluator in evaluators:
            subject = evaluator.target.subject
            say(f"{subject.about['name']}:")
            own: list[Evaluation] = []
            for rows, words in evaluator.run():
                own += rows
                if not as_json:
                    print_result(words)
            for note in describe_notes(own):
                say(note)
            say(f"({subject.home / FILE})")
            found += own
    if evaluators and not found:
        raise OptionError("no metric could be computed", "the lines above say why")
    if as_json:
        print_result(json.dumps([row.to_json() for row in found], indent=2))
