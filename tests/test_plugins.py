import json
import subprocess
import sys
from pathlib import Path

import pytest

from ganforge import OptionError, PluginError
from ganforge.plugins import load_plugins
from ganforge.registry import Registry

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
        "ganforge_loses is no hook of ganforge (did you mean 'ganforge_losses'",
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
        "loss 'mine' must be a class that derives from ganforge.Loss",
    ),
    "no-exporter": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_exporters():\n    return {'mine': dict}",
        "exporter 'mine' must be a class that derives from ganforge.Exporter",
    ),
    "bad-name": (GOOD % "My Loss", "loss name 'My Loss' must be lower-case letters, digits and hyphens"),
    "hook-raises": (
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_losses():\n    return {}[1]",
        "KeyError: 1",
    ),
    "nothing": ("x = 1", "it implements no hook"),
}


def install(folder: Path, name: str, source: str, *, package: str | None = None, version: str = "1.0") -> None:
    """What pip leaves of a package with one module and one entry point."""
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


def test_list_and_doctor_show_a_broken_plugin_and_exit_codes_tell(site):
    install(site, "import-error", BROKEN["import-error"][0])
    install(site, "good", GOOD % "good")

    def run(*arguments):
        code = f"import sys; sys.path.insert(0, {str(site)!r}); from ganforge.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)

    listed = run("plugins", "list", "--json")
    status = {each["name"]: each["status"] for each in json.loads(listed.stdout)}
    assert listed.returncode == 0
    assert (status["import-error"], status["good"], status["dcgan"]) == ("broken", "ok", "ok")
    doctor = run("plugins", "doctor")
    assert doctor.returncode == 1
    assert "import-error of acme-import-error 1.0: ModuleNotFoundError" in doctor.stdout
    info = run("plugins", "info", "good")
    assert info.returncode == 0
    assert "Critic (Arjovsky 2017)." in info.stdout
