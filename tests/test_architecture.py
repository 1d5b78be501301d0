"""The house keeps its shape: imports only point down, built-ins are strangers, and --help is quick."""

import ast
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import ganforge
from ganforge.moved import MOVED

ROOT = Path(ganforge.__file__).parent

DOCS = ROOT.parent / "docs"
spec = importlib.util.spec_from_file_location("architecture", DOCS / "architecture.py")
architecture = importlib.util.module_from_spec(spec)
spec.loader.exec_module(architecture)
FLOORS = {name: level for level, floor in enumerate(architecture.FLOORS) for name in floor}


def imports():
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield path.relative_to(ROOT), node.module, [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield path.relative_to(ROOT), alias.name, []


def room(path):
    return path.parts[0].removesuffix(".py")


def test_every_package_has_a_floor():
    packages = {room(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")}
    assert packages == {*FLOORS, *architecture.NOT_DRAWN}


def test_the_drawing_and_the_table_of_the_design_are_those_of_the_code():
    assert (DOCS / "images/architecture.svg").read_text() == architecture.draw(), "run python docs/architecture.py"
    assert architecture.write_table() in (DOCS / "design.md").read_text()


def test_imports_point_down():
    wrong = []
    for path, module, names in imports():
        if room(path) in architecture.NOT_DRAWN or not module.startswith("ganforge"):
            continue
        targets = [module.split(".")[1]] if "." in module else [name for name in names if name in FLOORS]
        for target in targets:
            if target != room(path) and FLOORS[target] >= FLOORS[room(path)]:
                wrong.append(f"{path} imports {target}")
    assert not wrong


def test_modules_of_one_floor_do_not_form_rings():
    edges = {}
    for path, module, _ in imports():
        source = "ganforge." + ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if module.startswith("ganforge."):
            edges.setdefault(source, set()).add(module)

    def visit(node, trail):
        assert node not in trail, " -> ".join([*trail, node])
        for target in edges.get(node, ()):
            visit(target, [*trail, node])

    for node in edges:
        visit(node, [])


def test_builtins_use_public_names_only():
    wrong = []
    for path, module, names in imports():
        # What stands behind exporters, extractors and metrics takes more than public names.
        if (
            room(path) == "builtin"
            and module.split(".")[0] == "ganforge"
            and path.stem not in ("exporters", "extractors", "metrics")
        ):
            public = module == "ganforge" and all(name in ganforge.__all__ for name in names)
            if not public and not module.startswith("ganforge.builtin."):
                wrong.append(f"{path}: from {module} import {', '.join(names)}")
    assert not wrong


@pytest.mark.parametrize("library", ["torchvision", "torch_fidelity"])
def test_heavy_libraries_stay_in_their_rooms(library):
    rooms = {str(path) for path, module, _ in imports() if module.split(".")[0] == library}
    networks = {f"evaluation/extractors/{name}.py" for name in ("clip", "torchvision")}
    assert rooms <= {"builtin/torchvision_sets.py", *networks}


def test_the_session_stands_without_the_command_line():
    code = (
        "import sys, ganforge.session.api\n"
        "print(*[each for each in sys.modules if each.startswith(('ganforge.cli', 'typer'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_public_name_is_there():
    for name in ganforge.__all__:
        assert getattr(ganforge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ganforge.nonsense  # noqa: B018


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_old_import_paths_work_and_name_the_new_ones(old, new):
    sys.modules.pop(old, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = importlib.import_module(old)
    here = importlib.import_module(new)
    assert [each.category for each in caught] == [DeprecationWarning], caught
    assert f"{new};" in str(caught[0].message)
    names = [each for each in dir(here) if each[0] != "_"]
    assert names
    assert all(getattr(there, each) is getattr(here, each) for each in names)
    assert not hasattr(there, "nonsense")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["eval", "--help"],
        ["--version"],
        ["data", "--help"],
        ["plugins", "-h"],
        ["explore", "mix", "-h"],
        ["runs"],
    ],
)
def test_help_does_not_import_torch(arguments):
    code = (
        "import sys\nfrom ganforge.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'numpy', 'torchvision', 'PIL'} & sys.modules.keys()\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
