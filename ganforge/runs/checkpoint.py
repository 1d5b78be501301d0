"""Checkpoints and weights: safetensors with a JSON card, written atomically, validated when read, no pickle.

The card is sorted JSON under the metadata key ``ganforge``: one key, since the order of several is random. It holds the
SHA-256 of all tensors and of itself, since safetensors has no checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganforge.contract.data import DataSpec, Number
from ganforge.contract.errors import CheckpointError, GanforgeError
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import open_regular, read_bytes, replacing
from ganforge.core.json_schema import NonNegativeInt, PositiveInt, convert, parse_json
from ganforge.core.memory import describe_bytes, machine_memory
from ganforge.plugins.registry import Registry

FORMAT = 1


class _Score(TypedDict):
    metric: str
    value: float


class _LastScore(_Score):
    images: NonNegativeInt


class _Card(TypedDict):
    """Required fields of every card; further fields are allowed in each of these types."""

    digest: str
    kind: NotRequired[str | None]
    images: NotRequired[NonNegativeInt | None]
    score: NotRequired[_Score | None]


class _Part(TypedDict):
    name: str
    options: dict[str, Any]
    plugin: str


class _Number(TypedDict):
    name: str
    mean: float
    std: Annotated[float, msgspec.Meta(gt=0)]
    examples: list[float]


class _Spec(TypedDict):
    shape: list[PositiveInt]
    class_names: list[str]
    numbers: NotRequired[list[_Number] | None]
    source_shape: NotRequired[list[PositiveInt] | None]
    name: NotRequired[str]
    fingerprint: NotRequired[str]
    num_examples: NotRequired[NonNegativeInt]


class _GeneratorCard(TypedDict):
    generator: _Part
    data: _Spec


class _CheckpointCard(TypedDict):
    images: NonNegativeInt
    seconds: float
    ticked: NonNegativeInt
    seconds_ticked: float
    streak: NotRequired[NonNegativeInt]
    rollbacks: NotRequired[NonNegativeInt]
    fingerprint: str
    generator: _GeneratorCard
    score: NotRequired[_LastScore | None]


class BestCard(TypedDict):
    """Required fields of the best generator's card."""

    images: NonNegativeInt
    score: _Score


_MOST_HEADER = 1 << 23
"""Maximum size of a header in bytes: enough for 60,000 tensors; one of 60 MB takes minutes to read."""

_WIDEST = 8
"""Maximum ratio of a network's size in memory to its size in the file."""

_BESIDE = 1 << 26
"""Maximum size in bytes of a network's tensors that are not saved."""


def describe_spec(data: DataSpec) -> dict[str, Any]:
    """Convert a `DataSpec` to fields of a card."""
    paired = {"source_shape": list(data.source_shape)} if data.source_shape else {}
    numbers = {"numbers": [{**asdict(each), "examples": list(each.examples)} for each in data.numbers]}
    labeled = numbers if data.numbers else {}
    return {"shape": list(data.shape), "class_names": list(data.class_names), **paired, **labeled}


def read_spec(card: Mapping[str, Any]) -> DataSpec:
    """Return the `DataSpec` of a generator's card."""
    data = card["data"]
    numbers = tuple(
        Number(each["name"], each["mean"], each["std"], tuple(each["examples"])) for each in data.get("numbers") or ()
    )
    return DataSpec(tuple(data["shape"]), tuple(data["class_names"]), tuple(data.get("source_shape") or ()), numbers)


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes, in any order, as hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, without shared memory."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def halve_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert matrices and kernels to float16, as in the files of shipped generators; others are unchanged."""
    return {
        name: each.half() if each.is_floating_point() and each.dim() > 1 else each for name, each in tensors.items()
    }


def save_tensors(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write tensors and their card; the same content gives the same bytes."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    own = {"format": FORMAT, "digest": digest_tensors(ready), "card_digest": _digest_card(card)}
    text = json.dumps({**card, **own}, sort_keys=True)
    with replacing(path) as temporary:
        try:
            # Not to bytes, which blocks all other threads.
            safetensors.torch.save_file(ready, temporary, metadata={"ganforge": text})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _digest_card(card: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a card without the fields that `save_tensors` adds, as hex."""
    content = {key: value for key, value in card.items() if key not in ("format", "digest", "card_digest")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of any safetensors file, within limits of size; nothing of the file is executed.

    Raises:
        CheckpointError: Not found, not a safetensors file, or damaged.
    """
    try:
        _check_size(path)
        return safetensors.torch.load(read_bytes(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: is not a safetensors file, or is damaged: {error}") from None


def _check_size(path: Path) -> None:
    """Refuse a file or a header that is too large."""
    with open_regular(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        header = int.from_bytes(opened.read(8), "little")
    if size > machine_memory():
        raise CheckpointError(f"{path}: exceeds the {describe_bytes(machine_memory())} of memory of this machine")
    if _MOST_HEADER < header < size:
        raise CheckpointError(f"{path}: its header has {header} bytes; the maximum is {_MOST_HEADER}")


def read_card(path: Path) -> dict[str, Any]:
    """Read the card of a file, without its tensors."""
    try:
        _check_size(path)
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("ganforge")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a safetensors file, or is damaged: {error}") from None
    try:
        card = parse_json(text or "")
    except ValueError:
        card = None
    if not isinstance(card, dict) or "format" not in card:
        raise CheckpointError(f"{path}: was not written by ganforge", "it must hold the metadata key 'ganforge'")
    if card["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has format {card['format']!r}; this version reads format {FORMAT}", "upgrade ganforge"
        )
    own, expected = card.pop("card_digest", None), _digest_card(card)
    if own != expected and (
        own is not None or card.get("kind") == "classifier"
    ):  # older files of other kinds have none
        raise CheckpointError(f"{path}: its card does not match its digest; the file is damaged")
    require_card(path, card, _Card)
    return card


def require_card(path: Path, card: Mapping[str, Any], kind: Any) -> None:
    """Validate a card against a type of msgspec."""
    try:
        convert(card, kind)
    except ValueError as error:
        raise CheckpointError(f"{path}: invalid card: {error}", "the file is damaged, or from other software") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read all tensors of a file and its card, and verify their digest."""
    card = read_card(path)
    if card.get("kind") == "checkpoint":
        require_card(path, card, _CheckpointCard)
    try:
        tensors = safetensors.torch.load(read_bytes(path))
    except (OSError, SafetensorError) as error:  # changed in between
        raise CheckpointError(f"{path}: is not a safetensors file, or is damaged: {error}") from None
    if digest_tensors(tensors) != card.get("digest"):
        raise CheckpointError(f"{path}: its content does not match its digest; the file is damaged")
    if card.get("kind") == "checkpoint" and "frozen" in card:
        tensors |= _read_frozen(path, card["frozen"])
    return tensors, card


def read_generator_card(path: Path) -> dict[str, Any]:
    """Read the card of a generator, from its file or from a checkpoint."""
    card = read_card(path)
    is_checkpoint = card.get("kind") == "checkpoint"
    require_card(path, card, _CheckpointCard if is_checkpoint else _GeneratorCard)
    of_generator: dict[str, Any] = card["generator"] if is_checkpoint else card
    return of_generator


def frozen_path(checkpoint: Path, digest: str) -> Path:
    """Return the file beside a checkpoint with the frozen tensors of its run."""
    return checkpoint.with_name(f"frozen-{digest[:16]}.safetensors")


def _read_frozen(checkpoint: Path, digest: Any) -> dict[str, Tensor]:
    """Read the frozen tensors of a checkpoint's run, those of the EMA included."""
    if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
        raise CheckpointError(f"{checkpoint}: the digest of its frozen tensors is invalid; the file is damaged")
    path = frozen_path(checkpoint, digest)
    if not path.exists():
        raise CheckpointError(
            f"{path}: not found; it holds the frozen tensors of {checkpoint.name}", "copy it to that path"
        )
    tensors, card = read_tensors(path)
    if (card.get("kind"), card["digest"]) != ("frozen", digest):
        raise CheckpointError(f"{path}: not the frozen tensors of {checkpoint.name}")
    of_averages = {
        name.replace(network, average, 1): each.clone()
        for name, each in tensors.items()
        for average, network in _AVERAGES
        if name.startswith(network)
    }
    return tensors | of_averages


_AVERAGES = (("average/", "generator/"), ("average.", "network."))
"""Beginnings of the names of tensors of EMAs, and of those of their networks."""


def of_network(name: str) -> str:
    """Return the name of the tensor that a tensor of an EMA averages; other names are unchanged."""
    for average, network in _AVERAGES:
        if name.startswith(average):
            return name.replace(average, network, 1)
    return name


def save_generator(path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a generator's ``state_dict`` with a card, for `ganforge.load`.

    Args:
        path: A ``.safetensors`` file.
        weights: Tensors by name.
        card: Description of the generator, in the form that exporters get.

    Raises:
        GanforgeError: The file is not writable; an older one is unchanged.
    """
    save_tensors(path, weights, {**card, "kind": "generator"})


def load_generator(path: Path, registry: Registry | None = None) -> tuple[Generator, dict[str, Any]]:
    """Return a generator on the CPU in evaluation mode, and its card; `registry` defaults to the installed plugins."""
    card = read_card(path)
    if card.get("kind") != "generator":
        raise CheckpointError(f"{path}: not a generator but a {card.get('kind', 'file of unknown kind')}")
    require_card(path, card, _GeneratorCard)
    tensors, card = read_tensors(path)
    part = card["generator"]
    # The options in a small file must not create a large network.
    most = _WIDEST * sum(each.nbytes for each in tensors.values()) + _BESIDE
    try:
        spec = read_spec(card)
        registry = registry or Registry.installed()
        generator: Generator = registry.build("generator", part["name"], part["options"], spec, most_bytes=most)
        generator.load_state_dict(tensors)
    except GanforgeError as error:
        raise type(error)(f"{path}: {error.message}", f"it requires plugin '{part['plugin']}'; {error.hint}") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise CheckpointError(f"{path}: its weights do not fit generator '{part['name']}': {text}") from error
    broken = [name for name, each in tensors.items() if each.is_floating_point() and not each.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path}: weights are not finite (NaN or infinite) in {len(broken)} of {len(tensors)} tensors, "
            f"first in {broken[0]!r}",
            "training diverged; use an older checkpoint, or train with a lower learning rate",
        )
    return generator.eval(), card
