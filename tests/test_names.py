"""Names that some disks or a search cannot distinguish from another of the project."""

import os
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import ganforge

ROOT = Path(ganforge.__file__).parent.parent
LEFT_OUT = {"__pycache__", "build", "dist", "runs", "site"}


def twice(names):
    """Names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_no_two_files_differ_by_case_only():
    paths = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [each for each in folders if each not in LEFT_OUT and not each.startswith(".")]
        paths += [str(Path(folder, each).relative_to(ROOT)).casefold() for each in (*folders, *files)]
    assert len(paths) > 500
    assert twice(paths) == []


def test_no_package_has_the_name_of_another_or_of_a_library():
    projects = [tomllib.loads(each.read_text())["project"] for each in ROOT.glob("**/pyproject.toml")]
    names = [re.sub(r"[-_.]+", "-", each["name"]).lower() for each in projects]
    modules = [path.parent.name.casefold() for path in ROOT.glob("plugins/*/*/__init__.py")] + ["ganforge"]
    assert len(names) > 5
    assert twice(names) == []
    assert twice(modules) == []
    assert not {each.casefold() for each in sys.stdlib_module_names} & set(modules)
    for package in [ROOT / "ganforge", *(path.parent for path in (ROOT / "ganforge").rglob("__init__.py"))]:
        assert twice(each.stem.casefold() for each in package.iterdir() if each.suffix == ".py" or each.is_dir()) == []


def test_each_page_has_a_title_of_its_own():
    titles = []
    for path in (ROOT / "docs").rglob("*.md"):
        titles += re.findall(r"\A(?:---.*?---\s*)?# (.+)", path.read_text(), re.DOTALL)[:1]
    titles = [title.splitlines()[0].casefold() for title in titles]
    entries = re.findall(r"^ +- ([^:\n]+): \S+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(titles) > 30
    assert twice(titles) == []
    assert twice(each.casefold() for each in entries) == []
