"""README, guides and docstrings are correct: their code runs, their commands exist, their links resolve."""

import itertools
import re
from pathlib import Path

import pytest
import typer

import ganforge
from ganforge.cli import app
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import collect_parts
from ganforge.plugins.registry import Registry

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands():
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`(ganforge [^`\n]+)`", page.read_text())
        for line in lines:
            for part in re.split(r"&&|\||;", line):
                if part.strip().startswith("ganforge "):
                    yield page, part.split("#")[0].split()[1:]


class Module:
    pass


def parts_of(code):
    module = Module()
    exec(compile(code, "<docs>", "exec"), vars(module))
    return collect_parts(module)


HOOKS = [kind.hook for kind in KINDS.values()]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_an_example_that_runs(hook):
    page = (ROOT / "docs/reference/hooks.md").read_text()
    (code,) = re.findall(rf"^## `{hook}`\n.*?^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (kind,) = parts_of(code)
    assert KINDS[kind].hook == hook


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_in_the_guide(hook):
    assert f"`{hook}`" in (ROOT / "docs/guide/plugins.md").read_text()


def test_the_plugin_of_the_readme_is_as_short_as_promised_and_loads():
    (code,) = blocks(ROOT / "README.md", "python")
    assert parts_of(code)["loss"].keys() == {"least-squares"}


def test_whole_plugins_in_the_guide_load_and_pass_the_checks(tmp_path):
    from ganforge.testing import check_callback, check_dataset, check_loss, check_metric, check_optimizer

    found = {}
    for code in blocks(ROOT / "docs/guide/plugins.md", "python"):
        if "@hookimpl" in code:
            for kind, parts in parts_of(code).items():
                found[kind] = parts
    check_loss(found["loss"]["squared-hinge"])
    check_callback(found["callback"]["loss-limit"], tmp_path)
    assert found["command"].keys() == {"count-runs"}
    check_metric(found["metric"]["mean-distance"])
    check_optimizer(found["optimizer"]["lion"])
    assert len(check_dataset(found["dataset"]["stripes"], count=5)) == 5


def test_whole_plugins_in_the_guide_are_short():
    for code in blocks(ROOT / "docs/guide/plugins.md", "python"):
        if "@hookimpl" in code and "ganforge_recipes" not in code:
            assert len([line for line in code.splitlines() if line.strip() and line[0] != "#"]) <= 20, code


def test_every_command_and_option_in_the_docs_exists():
    root = typer.main.get_command(app)
    everywhere = {name for parameter in root.params for name in parameter.opts} | {"--help"}
    checked = 0
    for page, words in commands():
        command = root
        while words and getattr(command, "commands", None) and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = everywhere | {name for parameter in command.params for name in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"{page.name}: ganforge {command.name} {word}"
        of_plugin = words[:1] in (["hub"], ["c2pa"], ["count-runs"], ["NAME"])
        assert command is not root or not words or words[0].startswith("-") or of_plugin, (
            f"{page.name}: ganforge {' '.join(words)}"
        )
        checked += 1
    assert checked > 20


def test_links_within_the_docs_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_column_of_a_table_has_a_name():
    for page in PAGES:
        for header in re.findall(r"^\|(.*)\|\n\|[-:| ]+\|$", page.read_text(), re.MULTILINE):
            cells = re.split(r"(?<!\\)\|", re.sub(r"\$[^$]+\$", "", header))  # formulas are not read out
            assert all(cell.strip() for cell in cells), f"{page.name}: |{header}|"


FLAGS = {
    "--arch": "recipe",
    "--loss": "loss",
    "--generator": "generator",
    "--discriminator": "discriminator",
    "--reg": "regularizer",
    "--augment": "augmentation",
}


def test_names_of_parts_in_the_docs_exist():
    registry = Registry.installed()
    for page, words in commands():
        for flag, name in itertools.pairwise(words):
            if flag in FLAGS and name.split(":")[0].islower() and "--plugin" not in words:
                # A name may also be one that the page's own example offers, or a package that it installs.
                offered = re.search(rf'return {{"{name}":|pip install ./plugins/', page.read_text())
                assert offered or name.split(":")[0] in registry.names(FLAGS[flag]), f"{page.name}: {flag} {name}"


def test_the_version_is_in_the_changelog_or_not_yet_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"[{ganforge.__version__}]" in text or "[Unreleased]" in text


@pytest.mark.parametrize("page", ["contributing.md", "design.md", "decisions.md"])
def test_paths_that_a_page_for_contributors_names_exist(page):
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py|\.md)?)`", text)
    places = [ROOT, ROOT / "ganforge", ROOT / "docs"]
    assert named
    assert not [each for each in named if not any((place / each).exists() for place in places)]


def test_modules_that_have_moved_are_where_the_page_says():
    text = (ROOT / "docs/reference/moved.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", text.partition("## Names")[0], re.MULTILINE)
    assert len(rows) > 90
    paths = [ROOT.joinpath("ganforge", *now.split(".")) for _, now in rows]
    assert not [path for path in paths if not (path.is_dir() or path.with_suffix(".py").exists())]
