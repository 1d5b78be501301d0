"""Import of foreign checkpoints into run directories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganforge.config.schema import RunConfig, resolve
from ganforge.contract.errors import CheckpointError, GanforgeError, OptionError
from ganforge.contract.importer import Imported, Importer
from ganforge.core.atomic_files import open_regular
from ganforge.core.torch_files import parsing_once
from ganforge.plugins.part_errors import part_errors
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec, save_generator, save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.runs.origin import IMPORTED, UNKNOWN

_UNKNOWN = {"license": UNKNOWN, "source": UNKNOWN}
"""Facts that every card of an imported run has."""


def import_file(
    path: Path,
    out: Path,
    registry: Registry,
    *,
    form: str | None,
    options: Mapping[str, Any],
    name: str | None,
    origin: Mapping[str, str] | None = None,
) -> tuple[RunFolder, Imported]:
    """Read a foreign checkpoint into a new run in `out`.

    Args:
        path: The file.
        out: Directory of all runs.
        registry: Available parts.
        form: Name of an importer; None for the first that recognizes the file.
        options: Options of the importer.
        name: Suffix of the run directory; None for the name of the file.
        origin: Facts that the user knows, such as ``license`` and ``source``; they replace those of the file.
    """
    digest = _digest(path)
    with parsing_once():
        form, importer = _choose(path, registry, form, options)
        with part_errors("importer", form):
            found = importer.read(path)
    settings = {"data": {"source": IMPORTED}, **found.settings, "generator": {"name": found.generator, **found.options}}
    config = resolve(registry, settings)
    _require_fit(path, registry, found, config)
    folder = RunFolder.create(out, name or path.stem)
    card = {
        "generator": registry.part("generator", found.generator).describe(config.generator.options),
        "data": {"name": IMPORTED, **describe_spec(found.data)},
        "recipe": config.recipe,
        "images": found.images,
        "imported": {
            "file": path.name,
            "sha256": digest,
            "importer": form,
            **_UNKNOWN,
            **found.source,
            **(origin or {}),
        },
    }
    save_generator(folder.generator, found.weights, card)
    if found.players:
        _save_checkpoint(folder, found, card)
    folder.write_config(config.tree())
    return folder, found


def _save_checkpoint(folder: RunFolder, found: Imported, card: Mapping[str, Any]) -> None:
    """Write all networks for ``--init-from``, without optimizers."""
    networks = {**found.players, "average": found.weights}
    tensors = {f"{name}/{key}": each for name, weights in networks.items() for key, each in weights.items()}
    state = {"images": found.images, "seconds": 0.0, "ticked": 0, "seconds_ticked": 0.0, "fingerprint": IMPORTED}
    save_tensors(folder.checkpoint_path(found.images), tensors, {"kind": "checkpoint", **state, "generator": card})


def _digest(path: Path) -> str:
    try:
        digest = hashlib.sha256()
        with open_regular(path) as opened:
            while content := opened.read(1 << 20):
                digest.update(content)
        return digest.hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error


def _choose(path: Path, registry: Registry, form: str | None, options: Mapping[str, Any]) -> tuple[str, Importer]:
    names = registry.names("importer")
    if form is not None:
        return form, registry.build("importer", form, options)
    for name in names:
        importer: Importer = registry.build("importer", name, options if len(names) == 1 else {})
        with part_errors("importer", name):
            if importer.recognizes(path):
                return name, registry.build("importer", name, options)
    hint = f"importers: {', '.join(names)}; see --format; or evaluate a folder of its images"
    raise OptionError(f"{path}: no importer recognizes it", hint)


def _require_fit(path: Path, registry: Registry, found: Imported, config: RunConfig) -> None:
    """Raise CheckpointError unless all weights fit their networks and are finite."""
    parts = {"generator": config.generator, "discriminator": config.discriminator}
    for kind, weights in (("generator", found.weights), *found.players.items()):
        part = parts[kind]
        network = registry.build(kind, part.name, part.options, found.data)
        try:
            network.load_state_dict(dict(weights))
        except GanforgeError:
            raise
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise CheckpointError(f"{path}: its weights do not fit {kind} '{part.name}': {text[:500]}") from error
        for name, each in weights.items():
            if each.is_floating_point() and not each.isfinite().all():
                raise CheckpointError(
                    f"{path}: weights of the {kind} are not finite (NaN or infinite) in '{name}'", "use another file"
                )
