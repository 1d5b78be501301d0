"""Participation of an extractor in the training of a run, which makes its values optimistic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from torch import Tensor, nn

from ganforge.config.schema import read_score
from ganforge.config.stored import stored_training
from ganforge.contract.errors import GanforgeError
from ganforge.contract.extractor import Extractor
from ganforge.core.json_schema import decode
from ganforge.runs.checkpoint import digest_tensors, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import read_lines

SHARED = (
    "the network that measures took part in training: FID and other distances can be trained against, "
    "so compare no other run"
)
"""Note of a result whose features took part in training."""

RELATED = (
    "training used a pretrained network: if it learned from the same images as the extractor, such as ImageNet, "
    "values improve more than the samples"
)
"""Note of a result of a run with other weights of a file (Kynkaanniemi et al. 2023, arXiv:2203.06026)."""

_LEAST = 64
"""Minimum size of a compared tensor: smaller ones are filters or constants."""


class _Session(msgspec.Struct, frozen=True):
    """A row of ``environment.jsonl``: SHA-256 of the weights files of networks."""

    weights_sha256: dict[str, str] = {}


def describe_participation(home: Path, name: str, extractor: Extractor) -> list[str]:
    """Return notes about a run whose training or selection used the network that measures it.

    Args:
        home: Directory of the run, or a folder in it.
        name: Name of the evaluated generator, such as its file.
        extractor: The network that measures.
    """
    runs = list(_find_runs(home))
    files = {digest for run in runs for digest in _read_files(run)}
    notes = []
    if took_part(home, extractor) or extractor.weights_sha256 in files:
        notes.append(SHARED)
    elif files:
        notes.append(RELATED)
    ways = [way for run in runs for way in _find_selections(run, name, extractor)]
    if ways:
        notes.append(
            f"a score of the same extractor selected this generator ({', '.join(ways)}), so values are slightly "
            "optimistic"
        )
    return notes


def _find_runs(home: Path) -> Iterator[RunFolder]:
    """Yield the runs of a directory and of its parent; other folders, as those of images, may have any files."""
    for each in (home, home.parent):
        with suppress(GanforgeError):
            run = RunFolder(each)
            stored_training(run.read_config())
            yield run


def took_part(home: Path, extractor: nn.Module) -> bool:
    """Return whether a weight of an extractor is frozen in the run of a directory, or of a folder in it."""
    paths = [path for each in (home, home.parent) for path in each.glob("checkpoints/frozen-*.safetensors")]
    frozen = {digest for path in paths for digest in _digest_each(read_tensors(path)[0].values())}
    return bool(frozen) and not frozen.isdisjoint(_digest_each(extractor.state_dict().values()))


def trains_against(extractor: Extractor, networks: Iterable[nn.Module]) -> bool:
    """Return whether networks in training have frozen weights of an extractor, or those of its file."""
    networks = list(networks)
    if extractor.weights_sha256 and extractor.weights_sha256 in {
        getattr(each, "weights_sha256", "") for each in networks
    }:
        return True
    constant = [each for network in networks for each in (*network.parameters(), *network.buffers())]
    frozen = _digest_each([each for each in constant if not each.requires_grad])
    return bool(frozen) and not frozen.isdisjoint(_digest_each(extractor.state_dict().values()))


def _digest_each(tensors: Iterable[Tensor]) -> set[str]:
    """Return the digests of weights, without their names."""
    return {digest_tensors({"": each}) for each in tensors if each.dim() > 1 and each.numel() >= _LEAST}


def _read_files(run: RunFolder) -> set[str]:
    """Return the SHA-256 of the weights files of a run; damaged rows are skipped."""
    rows = read_lines(run.environment, lambda line: decode(line, _Session), [])
    return {digest for row in rows for digest in row.weights_sha256.values() if digest}


def _find_selections(run: RunFolder, name: str, extractor: Extractor) -> list[str]:
    """Return the ways in which a score of this extractor selected a generator of a run."""
    config = run.read_config()
    measured = {read_score(metric)[0] for metric in stored_training(config).metrics}
    # Data without classes have scores by the extractor `random` instead.
    if not measured & {extractor.origin.get("name"), "classifier" if extractor.label == "random" else None}:
        return []
    found = {
        "best of several scores": Path(name).name == run.best_generator.name,
        "early stop": "early-stop" in config.get("callbacks", {}),
        "tune": (run.path.parent / "tune.json").is_file(),
    }
    return [way for way, is_used in found.items() if is_used]
