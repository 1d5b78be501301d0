"""Scaffold of a plugin: a complete package with code, tests, README and a CI workflow."""

from __future__ import annotations

from pathlib import Path
from string import Template

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.atomic_files import write_bytes, write_error
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import NAME
from ganforge.plugins.registry import Registry
from ganforge.version import API_VERSION, __version__

_HOME = Path(__file__).parent

LONGEST = 40
"""Maximum length of a name."""


def write_package(name: str, kind: str, out: Path, registry: Registry) -> Path:
    """Write a package with one part to ``ganforge-NAME`` in `out`, and return its folder."""
    name = name.removeprefix("ganforge-")
    if kind not in KINDS:
        raise OptionError(f"--kind {kind}: unknown kind", nearest(kind, KINDS))
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise OptionError(
            f"'{name}' is an invalid name", "use lower-case letters, digits and hyphens, such as soft-loss"
        )
    if name in registry.names(kind):
        owner = registry.part(kind, name).plugin.distribution
        raise OptionError(f"{kind} '{name}' already exists, in {owner}", "choose another name")
    folder = out / f"ganforge-{name}"
    if folder.exists():
        raise OptionError(f"{folder}: already exists", "remove it, or choose another name")
    words = _words(name, kind)
    module = words["module"]
    texts = {
        "pyproject.toml": "package/pyproject.toml",
        "README.md": "package/README.md",
        ".github/workflows/test.yml": "package/test.yml",
        f"{module}/__init__.py": f"parts/{kind}.py",
        f"tests/test_{module.removeprefix('ganforge_')}.py": f"tests/{kind}.py",
    }
    try:
        (folder / module).mkdir(parents=True)
        (folder / module / "py.typed").touch()
    except OSError as error:
        raise write_error(folder, error) from error
    for path, template in texts.items():
        write_bytes(folder / path, _fill(template, words).encode())
    return folder


def example(name: str, kind: str) -> str:
    """Return the source code of an example of a kind of part."""
    return _fill(f"parts/{kind}.py", _words(name, kind))


def _fill(template: str, words: dict[str, str]) -> str:
    return Template((_HOME / f"{template}.txt").read_text(encoding="utf-8")).substitute(words)


def _words(name: str, kind: str) -> dict[str, str]:
    major, minor, *_ = __version__.split(".")
    return {
        "name": name,
        "distribution": f"ganforge-{name}",
        "module": f"ganforge_{name.replace('-', '_')}",
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "constant": name.replace("-", "_").upper(),
        "title": f"The {kind} {name}",
        "use": KINDS[kind].usage.format(name=name),
        "api": str(API_VERSION),
        "least": f"{major}.{minor}",
        "below": f"{major}.{int(minor) + 1}" if major == "0" else str(int(major) + 1),
    }
