"""``ganforge eval``: how good a generator is, and how the number was obtained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    RunArgument,
    SeedOption,
    choose_device,
    open_registry,
    print_result,
    progress_bar,
    read_number,
    say,
)
from ganforge.cli.runs import find_weights, open_generator
from ganforge.errors import CheckpointError, OptionError

if TYPE_CHECKING:
    from ganforge.data.store import PackedData


def evaluate(
    run: RunArgument = None,
    fid: Annotated[bool, typer.Option("--fid", help="Frechet inception distance to the run's data.")] = False,
    samples: Annotated[
        str, typer.Option("--samples", metavar="N", help="Generated images, and at most so many real.")
    ] = "10k",
    inception_weights: Annotated[
        Path | None,
        typer.Option(
            "--inception-weights",
            metavar="FILE",
            help="Weights on disk, where there is no network.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = "0",
    truncation: Annotated[str, typer.Option("--truncation", metavar="PSI", help="Where the generator has it.")] = "1",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    out: OutOption = Path("runs"),
) -> None:
    """Evaluate a run's generator against the data that it was trained on."""
    if not fid:
        raise OptionError("no metric was named", "--fid is the one there is")
    number = read_number(samples, int, "--samples", least=2)
    first = read_number(seed, int, "--seed", least=0)
    psi = read_number(truncation, float, "--truncation")
    chosen = choose_device(device)
    weights = find_weights(run, out)
    generator, card = open_generator(weights, chosen)

    data = _data_of_run(weights, card)

    import torch

    from ganforge.evaluation.fid import evaluate_fid
    from ganforge.files import write_bytes
    from ganforge.images import to_uint8
    from ganforge.sampling import generate_batches

    # The same seed takes the same real images, and classes in the proportions of the data.
    chooser = torch.Generator().manual_seed(first)
    reals = data.examples[torch.randperm(len(data), generator=chooser)[:number]]
    labels = None if data.labels is None else data.labels[torch.randint(len(data), (number,), generator=chooser)]
    say(f"generating {number} images, to be compared with {len(reals)} of {data.name}")
    batches = generate_batches(generator, number, seed=first, labels=labels, truncation=psi)
    fakes = torch.cat([to_uint8(batch).cpu() for batch in batches])
    with progress_bar("features") as progress:
        result = evaluate_fid(
            reals,
            fakes,
            weights=inception_weights,
            device=chosen,
            data_fingerprint=data.fingerprint,
            generator_fingerprint=card["digest"],
            seed=first,
            truncation=psi,
            progress=progress,
        )
    target = weights.with_name("fid.json")
    write_bytes(target, (result.to_json() + "\n").encode())
    for note in result.notes:
        say(f"note: {note}")
    print_result(result.to_json() if as_json else f"FID {result.value:.4f}  ({target})")


def _data_of_run(weights: Path, card: dict[str, Any]) -> PackedData:
    """The data that a run was trained on, packed as they were then.

    Raises:
        CheckpointError: The weights lie in no run, or the data changed.
    """
    from ganforge.config import resolve
    from ganforge.data.pack import open_data
    from ganforge.runs import RunFolder

    folder = RunFolder(weights.parent)
    if not folder.config.is_file():
        raise CheckpointError(f"{weights} lies in no run, so its data are not known", "evaluate the run that made it")
    registry = open_registry()
    source = resolve(registry, folder.read_config()).data
    data = open_data(source.source, resolution=source.resolution, options=source.options, registry=registry)
    if data.fingerprint != card["data"]["fingerprint"]:
        raise CheckpointError(f"{source.source} changed since the run was trained", "put it back, or train anew")
    return data
