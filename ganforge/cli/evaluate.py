"""``ganforge eval``: how good a generator is, and how each number was obtained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganforge.cli.common import DeviceOption, OutOption, SeedOption, global_options, open_registry, read_number
from ganforge.cli.completion import complete_part
from ganforge.cli.launch import launch
from ganforge.contract.errors import OptionError
from ganforge.core.cache import open_cache
from ganforge.core.console import print_result, say
from ganforge.core.device import choose_device
from ganforge.evaluation.evaluator import OPTIONS, Evaluator
from ganforge.evaluation.request import Request

if TYPE_CHECKING:
    from ganforge.contract.extractor import Extractor
    from ganforge.evaluation.results.result import Evaluation


def evaluate(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs: folder, name or number; or files of generators, or folders and zips of images. The newest "
            "run if left out.",
            show_default=False,
        ),
    ] = None,
    fid: Annotated[bool, typer.Option("--fid", help="Frechet inception distance to real images.")] = False,
    fid_infinity: Annotated[
        bool, typer.Option("--fid-infinity", help="FID extrapolated to infinitely many generated images.")
    ] = False,
    kid: Annotated[bool, typer.Option("--kid", help="Kernel inception distance: without bias for few images.")] = False,
    inception_score: Annotated[bool, typer.Option("--is", help="Inception score, of generated images alone.")] = False,
    prc: Annotated[bool, typer.Option("--prc", help="Precision, recall, density and coverage.")] = False,
    memorization: Annotated[
        bool, typer.Option("--memorization", help="Nearest training images, and whether they are too near.")
    ] = False,
    ppl: Annotated[
        bool, typer.Option("--ppl", help="Path length: how fast images change along ways through latent space.")
    ] = False,
    modes: Annotated[
        bool, typer.Option("--modes", help="Modes covered: classes of images, or what the data say their modes are.")
    ] = False,
    conditional_accuracy: Annotated[
        bool, typer.Option("--conditional-accuracy", help="Images that show the class asked for.")
    ] = False,
    discriminator_accuracy: Annotated[
        bool, typer.Option("--discriminator-accuracy", help="Held-out examples whose class the discriminator tells.")
    ] = False,
    separability: Annotated[
        bool, typer.Option("--separability", help="Whether planes in latent space divide the data's attributes.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All of these that can be had.")] = False,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            metavar="N",
            help="Generated examples. By default 50k for metrics by features; for classes 5k; for ways 1k; for "
            "--separability 10k.",
            show_default=False,
        ),
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(
            "--references", metavar="N", help="Real images; all of the split if left out.", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="train|held-out|all", help="Which real images.")] = "train",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SET",
            help="Real images; by default those that the run was trained on.",
            show_default=False,
        ),
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            "--extractor",
            metavar="NAME|FILE",
            help="What turns images into features, as in torchscript:weights=FILE,pixels=unit; or a file.",
            autocompletion=complete_part("extractor"),
        ),
    ] = "inception",
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            "--inception-weights",
            metavar="FILE",
            help="Weights on disk, where there is no network.",
            show_default=False,
        ),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(
            "--classifier",
            metavar="FILE",
            help="For metrics of classes. If left out, one is trained and cached.",
            show_default=False,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", metavar="z|w", help="For --ppl and --separability; else both.", show_default=False),
    ] = None,
    distance: Annotated[
        str | None,
        typer.Option(
            "--distance",
            metavar="NAME",
            help="For --ppl: classifier, which is the default, lpips or inception.",
            show_default=False,
        ),
    ] = None,
    lpips_weights: Annotated[
        Path | None,
        typer.Option(
            "--lpips-weights",
            metavar="FOLDER",
            help="Where both files of LPIPS lie, if there is no network.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The generator as trained, not its average.")] = False,
    seed: SeedOption = "0",
    truncation: Annotated[str, typer.Option("--truncation", metavar="PSI", help="Where the generator has it.")] = "1",
    device: DeviceOption = "auto",
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            metavar="N",
            min=1,
            help="Share images out among N GPUs of this machine; with --device cpu, among N processes.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as one JSON list.")] = False,
    out: OutOption = Path("runs"),
) -> None:
    """Evaluate runs, files or images beside real ones, several metrics in one pass.

    Every number is kept in evaluations.jsonl with all that it must be quoted with; `ganforge eval compare` sets several
    side by side. What was computed of images is kept in the cache, so an evaluation that was killed goes on.
    """
    asked = {
        "--fid": fid,
        "--fid-infinity": fid_infinity,
        "--kid": kid,
        "--is": inception_score,
        "--prc": prc,
        "--memorization": memorization,
        "--ppl": ppl,
        "--modes": modes,
        "--conditional-accuracy": conditional_accuracy,
        "--discriminator-accuracy": discriminator_accuracy,
        "--separability": separability,
    }
    wanted = [flag for flag, given in asked.items() if given or everything]
    if not wanted:
        raise OptionError("no metric was named", f"choose of: {', '.join(asked)}; or --all")
    special = {
        "--samples": samples,
        "--inception-weights": inception_weights,
        "--lpips-weights": lpips_weights,
        "--classifier": classifier,
        "--space": space,
        "--distance": distance,
        "--references": references,
        "--data": data,
        "--extractor": None if extractor == "inception" else extractor,
        "--split": None if split == "train" else split,
    }
    for option, value in special.items():
        if value is not None and not any(option in OPTIONS[flag] for flag in wanted):
            have = "has" if len(wanted) == 1 else "have"
            raise OptionError(f"{option} {value}: {' and '.join(wanted)} {have} no use for it", "leave it out")
    request = Request(
        count=read_number(samples, int, "--samples", least=2) if samples else None,
        references=read_number(references, int, "--references", least=2) if references else None,
        split=split,
        extractor=extractor,
        seed=read_number(seed, int, "--seed", least=0),
        truncation=read_number(truncation, float, "--truncation"),
        inception_weights=inception_weights,
        lpips_weights=lpips_weights,
        classifier=classifier,
        space=space,
        distance=distance,
    )
    where, registry = choose_device(device), open_registry()

    from ganforge.core.distributed import is_launched, join_workers

    if gpus is not None and gpus > 1 and not is_launched():
        then = "what was computed is kept, so the same command goes on"
        raise typer.Exit(launch(gpus, where, global_options.arguments, then))
    workers = join_workers(where.type == "cuda")

    from ganforge.evaluation.results.formatting import describe_notes
    from ganforge.evaluation.results.result import FILE
    from ganforge.evaluation.subjects.targets import open_target

    names: list[str | None] = [*runs] if runs else [None]
    found: list[Evaluation] = []
    with open_cache() as cache:
        evaluators: list[Evaluator] = []
        extractors: dict[str, Extractor] = {}
        with workers.main_first():
            for text in names:  # a mistake in the last shows before the first is evaluated
                target = open_target(text, out, data=data, raw=raw, device=where, registry=registry)
                evaluators.append(
                    Evaluator(
                        target,
                        wanted,
                        request,
                        lenient=everything,
                        registry=registry,
                        device=where,
                        cache=cache,
                        extractors=extractors,
                    )
                )
        if workers.size > 1:  # what takes time is shared out; the rest is for the first process alone
            for evaluator in evaluators:
                evaluator.extract_together(workers)
            workers.close()
            if not workers.is_main:
                raise typer.Exit
        for evaluator in evaluators:
            subject = evaluator.target.subject
            say(f"{subject.about['name']}:")
            mine: list[Evaluation] = []
            for rows, words in evaluator.run():
                mine += rows
                if not as_json:
                    print_result(words)
            for note in describe_notes(mine):
                say(note)
            say(f"({subject.home / FILE})")
            found += mine
    if as_json:
        print_result(json.dumps([row.to_json() for row in found], indent=2))
