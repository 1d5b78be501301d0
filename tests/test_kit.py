"""A package that `ganforge plugins new` writes installs, passes its own tests, ruff and mypy, and trains, as it is."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ganforge import PluginError
from ganforge.cli import main
from ganforge.plugins.kinds import KINDS
from ganforge.plugins.loading import load_plugins
from ganforge.version import API_VERSION, OLDEST_API_VERSION


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One package of each kind."""
    place = tmp_path_factory.mktemp("kit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for kind in KINDS:
            with pytest.raises(SystemExit) as stop:
                main(["plugins", "new", f"my-{kind}", "--kind", kind])
            assert not stop.value.code
    return place


@pytest.fixture(scope="module")
def site(packages):
    """They are installed beside this environment's packages, into a folder of their own."""
    site = packages / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    sources = sorted(map(str, packages.glob("ganforge-*")))
    told = subprocess.run([*command, *sources], capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    return site


def environment(site):
    paths = [str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.mark.slow
def test_all_of_them_are_found_and_well(site, run, monkeypatch):
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", environment(site)["PYTHONPATH"])
    code, out, _ = run("plugins", "doctor")
    assert code == 0, out
    _, out, _ = run("plugins", "info", "my-loss")
    assert "scale: float = 1.0  Factor of differences of logits." in out


@pytest.mark.parametrize("kinds", [
    pytest.param(["callback"], marks=pytest.mark.slow), pytest.param([*KINDS], marks=pytest.mark.exhaustive)
], ids=["one", "all"])  # fmt: skip
def test_their_own_tests_pass_and_so_they_train(packages, site, kinds):
    files = [file for kind in kinds for file in packages.glob(f"ganforge-my-{kind}/tests/*.py")]
    assert len(files) == len(kinds)
    ignored = [f"ignore:.*torch.jit.*:{kind}" for kind in ("DeprecationWarning", "FutureWarning")]
    warnings = [part for each in ("error", *ignored) for part in ("-W", each)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", packages]
    command += [*warnings, *files]
    told = subprocess.run(command, cwd=packages, env=environment(site), capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout[-3000:]
    assert " skipped" not in told.stdout


@pytest.mark.parametrize("tool", ["check", "format --check"])
def test_linters_have_nothing_to_say(packages, tool):
    command = [sys.executable, "-m", "ruff", *tool.split(), *sorted(packages.glob("ganforge-*"))]
    told = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.exhaustive
def test_types_are_right(packages):
    # The cache is that of the repository, since what takes long is to read torch.
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", Path(__file__).parent.parent / ".mypy_cache"]
    targets = sorted(packages.glob("ganforge-*/ganforge_*"))
    told = subprocess.run([*command, *targets], cwd=packages, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_package_says_which_versions_it_is_for(packages):
    project = tomllib.loads((packages / "ganforge-my-loss" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["ganforge>=0.1,<0.2"]
    assert project["entry-points"] == {"ganforge": {"my-loss": "ganforge_my_loss"}}
    text = (packages / "ganforge-my-loss" / "ganforge_my_loss" / "__init__.py").read_text()
    assert f"GANFORGE_API = {API_VERSION}\n" in text


@pytest.mark.parametrize(("arguments", "said"), [
    (["My Loss"], "is an invalid name"), (["hinge"], "loss 'hinge' already exists, in ganforge"),
    (["mine", "--kind", "los"], "did you mean 'loss'"), (["taken"], "already exists"),
])  # fmt: skip
def test_what_cannot_be_written_is_one_line_and_nothing_is_lost(run, here, arguments, said):
    (here / "ganforge-taken").mkdir()
    (here / "ganforge-taken" / "mine.txt").write_text("kept")
    code, out, err = run("plugins", "new", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert [str(each.relative_to(here)) for each in here.rglob("*")] == ["ganforge-taken", "ganforge-taken/mine.txt"]


@pytest.mark.parametrize(("version", "hint"), [
    (OLDEST_API_VERSION - 1, "upgrade the plugin"), (API_VERSION + 1, "upgrade ganforge"),
    ("'two'", "upgrade the plugin"),
])  # fmt: skip
def test_a_plugin_for_another_contract_is_told_which_side_to_upgrade(here, version, hint):
    (here / "old.py").write_text(f"GANFORGE_API = {version}\n")
    with pytest.raises(PluginError, match=f"requires version .* of the contract.*{hint}"):
        load_plugins([here / "old.py"])
