"""A complete package for a new part: code, tests, README and what a server tests it by, ready to be changed."""

from __future__ import annotations

from pathlib import Path
from string import Template

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.atomic_files import cannot_write, write_bytes
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import NAME
from ganforge.plugins.registry import Registry
from ganforge.version import API_VERSION, __version__

_HOME = Path(__file__).parent

LONGEST = 40
"""Letters of a name."""


def write_package(name: str, kind: str, out: Path, registry: Registry) -> Path:
    """Write a package that offers one part.

    Args:
        name: Of the part, as a user will type it.
        kind: Of the part.
        out: The folder that gets the package's own.
        registry: What there is already.

    Returns:
        The package's folder, ``ganforge-NAME``.

    Raises:
        OptionError: The name cannot be had, the kind is unknown, or the folder is there already.
        GanforgeError: The folder cannot be written.
    """
    name = name.removeprefix("ganforge-")
    if kind not in KINDS:
        raise OptionError(f"--kind {kind}: there is no such kind", nearest(kind, KINDS))
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise OptionError(
            f"'{name}' cannot be a name", "take lower-case letters, digits and hyphens, such as soft-loss"
        )
    if name in registry.names(kind):
        owner = registry.part(kind, name).plugin.distribution
        raise OptionError(f"{kind} '{name}' is there already, in {owner}", "choose another name")
    folder = out / f"ganforge-{name}"
    if folder.exists():
        raise OptionError(f"{folder}: is there already", "remove it, or choose another name")
    module = f"ganforge_{name.replace('-', '_')}"
    words = {
        "name": name,
        "distribution": folder.name,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "constant": name.replace("-", "_").upper(),
        "title": f"The {kind} {name}",
        "use": KINDS[kind].usage.format(name=name),
        "api": str(API_VERSION),
        **_versions(__version__),
    }
    texts = {
        "pyproject.toml": _HOME / "package" / "pyproject.toml.txt",
        "README.md": _HOME / "package" / "README.md.txt",
        ".github/workflows/test.yml": _HOME / "package" / "test.yml.txt",
        f"{module}/__init__.py": _HOME / "parts" / f"{kind}.py.txt",
        f"tests/test_{module.removeprefix('ganforge_')}.py": _HOME / "tests" / f"{kind}.py.txt",
    }
    try:
        (folder / module).mkdir(parents=True)
        (folder / module / "py.typed").touch()
    except OSError as error:
        raise cannot_write(folder, error) from error
    for path, template in texts.items():
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        write_bytes(folder / path, text.encode())
    return folder


def _versions(version: str) -> dict[str, str]:
    """The versions of ganforge that a package written today is for: up to the next that may break the contract."""
    major, minor, *_ = version.split(".")
    return {"least": f"{major}.{minor}", "below": f"{major}.{int(minor) + 1}" if major == "0" else str(int(major) + 1)}
