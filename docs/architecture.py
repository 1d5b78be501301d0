"""Draw the packages of ganforge and their imports: ``python docs/architecture.py`` writes docs/images/architecture.svg.

tests/test_architecture.py checks that imports only point down, and that the drawing and the table of docs/design.md
are those of the code.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "ganforge"
FILE = Path(__file__).parent / "images/architecture.svg"

FLOORS = (
    {"contract": "all that a plugin author implements: parts, hooks, errors, schedules", "version": "version numbers"},
    {
        "core": "utilities that know no GAN: files, JSON, images, devices, distributed training, the console",
        "layers": "layers for networks, public",
    },
    {"plugins": "discovery of plugins, registry of parts, options, scaffolds", "sampling": "images from seeds"},
    {"config": "schema and sources of the configuration"},
    {"runs": "run directories, checkpoints, rows of metrics"},
    {"data": "data sets: decoding, checking, packing, splits"},
    {
        "training": "the training loop; `execution/`, `loading/`, `recording/`",
        "evaluation": "`metrics/`, `statistics/`, `extractors/`, `features/`, `subjects/`, `results/`",
        "explore": "latent spaces: interpolation, mixing, directions, projection",
    },
    {
        "session": "training and runs from Python, without the command line",
        "report": "the HTML report of runs",
        "export": "TorchScript, ONNX, AOTInductor, C++ projects; `web/`",
    },
    {
        "benchmark": "speed of training and inference",
        "testing": "checks for authors of plugins",
        "builtin": "the built-in plugins, by public names only",
    },
    {"cli": "one file a command: parse, call, print"},
)
"""Packages by floor, from the lowest; a package imports from floors below its own."""

NOT_DRAWN = ("__init__", "__main__", "moved")
"""Modules that hold no package together."""

_WIDTH, _ROW, _BOX = 760, 74, (118, 34)


def read_imports() -> dict[str, set[str]]:
    """Return for each package of ganforge the packages that it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        package = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "ganforge" and len(parts) > 1 and parts[1] != package:
                    found.setdefault(package, set()).add(parts[1])
    return {each: targets for each, targets in found.items() if each not in NOT_DRAWN}


def reduce_arrows(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others (the transitive reduction), sorted."""

    def reachable(package: str, without: str) -> set[str]:
        seen: set[str] = set()
        left = [each for each in imports.get(package, ()) if each != without]
        while left:
            if (each := left.pop()) not in seen:
                seen.add(each)
                left += imports.get(each, ())
        return seen

    return sorted((a, b) for a, targets in imports.items() for b in targets if b not in reachable(a, b))


def draw() -> str:
    """Return the drawing as SVG: a row a floor, an arrow for each import of `reduce_arrows`."""
    height = _ROW * len(FLOORS)
    center = {
        name: (_WIDTH * (2 * index + 1) / (2 * len(floor)), height - _ROW * (level + 0.5))
        for level, floor in enumerate(FLOORS)
        for index, name in enumerate(floor)
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" font-family="sans-serif"'
        ' font-size="15"><title>Packages of ganforge and their imports</title>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>',
    ]
    for above, below in reduce_arrows(read_imports()):
        (x, y), (to_x, to_y) = center[above], center[below]
        start, end = y + _BOX[1] / 2, to_y - _BOX[1] / 2
        bend = (start + end) / 2
        lines.append(
            f'<path d="M{x:.0f} {start:.0f}C{x:.0f} {bend:.0f} {to_x:.0f} {bend:.0f} {to_x:.0f} {end:.0f}" fill="none"'
            ' stroke="#888" marker-end="url(#tip)"/>'
        )
    for name, (x, y) in center.items():
        lines.append(
            f'<rect x="{x - _BOX[0] / 2:.0f}" y="{y - _BOX[1] / 2:.0f}" width="{_BOX[0]}" height="{_BOX[1]}" rx="6"'
            f' fill="#fff" stroke="#5e35b1"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def write_table() -> str:
    """Return the table of packages, highest floor first, in Markdown."""
    rows = [f"| `{name}` | {holds} |" for floor in reversed(FLOORS) for name, holds in floor.items()]
    return "\n".join(["| package | holds |", "| --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
