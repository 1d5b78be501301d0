import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from ganforge import OptionError, PluginError
from ganforge.config.schema import check_recipes, resolve
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry
from ganforge.plugins.trial import find_fatal_plugins

GOOD = """
from ganforge import Loss, hookimpl

class Wasserstein(Loss):
    "Critic (Arjovsky 2017)."
    def discriminator(self, logits):
        return logits.fake.mean() - logits.real.mean()
    def generator(self, logits):
        return -logits.fake.mean()

@hookimpl
def ganforge_losses():
    return {"%s": Wasserstein}
"""

BROKEN = {
    "import-error": ("import surely_not_installed", "No module named 'surely_not_installed'"),
    "exits": ("import sys; sys.exit('licence expired')", "it called sys.exit('licence expired')"),
    "syntax": ("def broken(:\n    pass", "SyntaxError: invalid syntax"),
    "raises": ("raise RuntimeError('no GPU\\nhere')", "RuntimeError: no GPU here"),
    "wrong-argument": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_losses(registry):\n    return {}",
        "ganforge_losses takes registry; a hook takes no arguments",
    ),
    "misspelt": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_loses():\n    return {}",
        "unknown hook ganforge_loses (did you mean 'ganforge_losses'",
    ),
    "undecorated": (
        "def ganforge_losses():\n    return {}",
        "ganforge_losses is not decorated: put @hookimpl above it",
    ),
    "not-a-mapping": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_losses():\n    return ['hinge']",
        "ganforge_losses returned list; it must return a mapping from name to part",
    ),
    "wrong-base": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_losses():\n    return {'mine': dict}",
        "loss 'mine' is a type; it must be a subclass of ganforge.Loss",
    ),
    "no-exporter": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_exporters():\n    return {'mine': dict}",
        "exporter 'mine' is a type; it must be a subclass of ganforge.Exporter",
    ),
    "bad-name": (GOOD % "My Loss", "loss name 'My Loss' must be lower-case letters, digits and hyphens"),
    "hook-raises": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_losses():\n    return {}[1]",
        "KeyError: 1",
    ),
    "nothing": ("x = 1", "it implements no hook"),
    "raises-base": ("raise BaseException('base')", "BaseException: base"),
    "raises-generator-exit": ("raise GeneratorExit", "GeneratorExit: "),
}


def install(folder: Path, name: str, source: str, *, package: str | None = None, version: str = "1.0") -> None:
    """Installed files of a package with one module and one entry point."""
    package = package or f"acme-{name}"
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[ganforge]\n{name} = {module}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[module]


def test_builtin_parts_come_through_entry_points_of_the_ganforge_distribution():
    registry = Registry.installed()
    assert registry.part("generator", "dcgan").plugin.distribution == "ganforge"
    assert registry.part("exporter", "torchscript").plugin.distribution == "ganforge"
    assert not [plugin.error for plugin in registry.plugins if plugin.distribution == "ganforge" and plugin.error]


def test_an_installed_package_adds_a_loss(site):
    install(site, "critic", GOOD % "critic", version="2.3")
    part = Registry.installed().part("loss", "critic")
    assert (part.plugin.distribution, part.plugin.version) == ("acme-critic", "2.3")
    assert part.summary == "Critic (Arjovsky 2017)."


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_explained(site, name):
    source, reason = BROKEN[name]
    install(site, name, source)
    (plugin,) = [each for each in load_plugins() if each.name == name]
    assert plugin.status == "broken"
    assert reason in plugin.error
    assert "\n" not in plugin.error
    assert plugin.parts == {}


def test_broken_plugins_change_nothing_for_the_others(site):
    before = {part.name for part in Registry.installed().parts()}
    for name, (source, _) in BROKEN.items():
        install(site, name, source)
    install(site, "zz-good", GOOD % "zz-good")
    registry = Registry.installed()
    assert {part.name for part in registry.parts()} == before | {"zz-good"}
    with pytest.raises(OptionError, match=r"broken plugins: .*import-error.*plugins doctor"):
        registry.part("loss", "surely-missing")


def test_a_name_offered_twice_is_an_error_only_when_it_is_asked_for(site):
    install(site, "one", GOOD % "twice")
    install(site, "two", GOOD % "twice")
    registry = Registry.installed()
    assert registry.part("loss", "nonsat").plugin.distribution == "ganforge"
    with pytest.raises(OptionError, match="plugin 'one' of acme-one and plugin 'two' of acme-two"):
        registry.part("loss", "twice")
    assert Registry(load_plugins(disabled=["two"])).part("loss", "twice").plugin.name == "one"


def test_a_disabled_plugin_is_not_imported(site):
    install(site, "marks", f"open({str(site / 'imported')!r}, 'w').close()\n" + GOOD % "marks")
    (plugin,) = [each for each in load_plugins(disabled=["marks"]) if each.name == "marks"]
    assert plugin.status == "disabled"
    assert not (site / "imported").exists()


def test_disabling_what_does_not_exist_suggests_a_name():
    with pytest.raises(OptionError, match="no plugin has that name.*dcgan"):
        load_plugins(disabled=["dcgann"])


def test_a_file_is_a_plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(GOOD % "mine")
    assert Registry(load_plugins([file])).part("loss", "mine").plugin.distribution == str(file)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_that_was_asked_for_stops_with_its_reason(tmp_path, name):
    source, reason = BROKEN[name]
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(PluginError) as error:
        load_plugins([file])
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["absent.py", "folder.py", "notes.txt"])
def test_a_file_that_is_no_python_file_is_refused(tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionError, match="no such Python file"):
        load_plugins([tmp_path / name])


def test_what_a_plugin_prints_and_sets_at_import_is_contained(site, capsys):
    source = "print('hello')\nimport torch\ntorch.set_default_dtype(torch.float64)\n"
    install(site, "loud", source + GOOD % "loud")
    (plugin,) = [each for each in load_plugins() if each.name == "loud"]
    assert torch.get_default_dtype() == torch.float32
    assert plugin.status == "ok"
    assert plugin.warnings == ["its import set torch's default dtype to torch.float64; it was restored"]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


RECIPE = """
from ganforge import Recipe, hookimpl

@hookimpl
def ganforge_recipes():
    return {"mine": Recipe("A recipe.", "Nobody 2026", %r)}
"""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generator": {"name": "absent"}}, "unknown generator 'absent'"),
        ({"generator": {"name": "mlp"}, "discriminator": {"name": "mlp"}, "loss": {"name": "absent"}}, "loss 'absent'"),
        ({"regularizers": {"absent": {}}}, "regularizer 'absent'"),
        ({"generator": {"name": "dcgan", "wide": 3}}, "generator 'dcgan' has no option 'wide'"),
    ],
)
def test_a_recipe_that_names_what_is_not_there_is_named_by_doctor_and_by_training(site, settings, said):
    full = {**Registry.installed().part("recipe", "dcgan").factory.settings, **settings}
    install(site, "recipes", RECIPE % full)
    registry = Registry.installed()
    (line,) = [each for each in check_recipes(registry) if "mine" in each]
    assert line.startswith("recipe 'mine' of plugin 'recipes' is invalid: ")
    assert said in line
    with pytest.raises(OptionError) as found:
        resolve(registry, {"recipe": "mine", "training": {"batch": 4}})
    assert found.value.message == line
    with pytest.raises(OptionError, match="training has no setting 'nonsense'"):
        resolve(registry, {"recipe": "dcgan", "training": {"nonsense": 4}})


@pytest.mark.slow
def test_doctor_names_plugins_that_end_the_process_or_hang_or_steer_the_terminal(run, site, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site))
    install(site, "leaves", "import os; os._exit(0)")
    install(site, "colours", "raise RuntimeError('\\x1b[31m[red]danger')")
    install(site, "good", GOOD % "good")
    code, out, err = run("plugins", "doctor")
    assert (code, "Traceback" in err) == (1, False)
    assert "leaves of acme-leaves 1.0: its import ends the process with exit code 0" in out
    assert "colours of acme-colours 1.0: RuntimeError: \\x1b[31m[red]danger" in out
    assert "\x1b" not in out
    report = json.loads(run("--disable", "leaves", "plugins", "doctor", "--json")[1])
    assert [each["name"] for each in report["broken"]] == ["colours"]


@pytest.mark.slow
def test_a_plugin_whose_import_never_returns_is_found(site, monkeypatch):
    install(site, "aa-sleeps", "import time; time.sleep(1000)")
    install(site, "ab-leaves", "import os; os._exit(3)")
    others = [point.name for point in entry_points(group="ganforge") if not point.name.startswith("a")]
    monkeypatch.setenv("PYTHONPATH", str(site))
    found = find_fatal_plugins(disabled=[*others, "ada", "augmentations", "avatars"], timeout=5)
    assert found == {
        "aa-sleeps": "its import takes more than 5 s",
        "ab-leaves": "its import ends the process with exit code 3",
    }


@pytest.mark.slow
def test_list_and_doctor_show_a_broken_plugin_and_exit_codes_tell(run, site):
    install(site, "import-error", BROKEN["import-error"][0])
    install(site, "good", GOOD % "good")
    code, out, _ = run("plugins", "list", "--json")
    status = {each["name"]: each["status"] for each in json.loads(out)}
    assert code == 0
    assert (status["import-error"], status["good"], status["dcgan"]) == ("broken", "ok", "ok")
    code, out, _ = run("plugins", "doctor")
    assert code == 1
    assert "import-error of acme-import-error 1.0: ModuleNotFoundError" in out
    code, out, _ = run("plugins", "info", "good")
    assert code == 0
    assert "Critic (Arjovsky 2017)." in out
