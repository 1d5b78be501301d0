"""Check of importers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ganforge.contract.errors import GanforgeError
from ganforge.contract.importer import Imported, Importer
from ganforge.plugins.registry import Registry
from ganforge.testing.requirements import require, require_options


def check_importer(
    factory: Callable[..., Importer], path: Path, registry: Registry | None = None, **options: Any
) -> Imported:
    """Check an importer with a file of its form: recognition, weights that fit the generator; return the content."""
    require_options(factory, options)
    importer = factory(**options)
    require(importer.recognizes(path), f"recognizes does not accept {path.name}")
    with TemporaryDirectory() as folder:
        for name, content in (("empty", b""), ("text.txt", b"no weights"), (path.name, path.read_bytes()[:40])):
            other = Path(folder) / name
            other.write_bytes(content)
            try:
                accepted = importer.recognizes(other)
            except Exception as error:
                raise AssertionError(f"recognizes raises {type(error).__name__} for another file: {error}") from error
            require(not accepted, f"recognizes accepts {content[:20]!r}...: look at the content")
    found, again = (importer.read(path) for _ in range(2))
    require(isinstance(found, Imported), f"read returned {type(found).__name__}; return an Imported")
    same = found.weights.keys() == again.weights.keys() and all(
        torch.equal(each, again.weights[name]) for name, each in found.weights.items()
    )
    require(same, "reading twice gave different weights")
    registry = registry or Registry.installed()
    try:
        generator = registry.build("generator", found.generator, found.options, found.data)
        generator.load_state_dict(dict(found.weights))
    except (GanforgeError, RuntimeError) as error:
        raise AssertionError(f"its weights do not fit generator '{found.generator}': {error}") from error
    return found
