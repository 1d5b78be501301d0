"""Commands of plugins: they run beside the built-in ones, and harm none of them."""

import subprocess
import sys

import pytest
import typer

from ganforge import PluginError
from ganforge.cli import app
from ganforge.plugins.kinds import BUILT_IN_COMMANDS
from ganforge.plugins.loading import load_plugins
from ganforge.testing import check_command

STRANGER = """
import typer
from ganforge import OptionError, hookimpl

def greet(name: str = "you", fails: bool = False) -> None:
    "Greet somebody."
    if fails:
        raise KeyError("no such\\nname")
    if name == "nobody":
        raise OptionError("--name nobody: nobody is there", "name somebody")
    print("hello", name)

group = typer.Typer(help="Two commands.")

@group.command()
def first() -> None:
    "The first."
    print("one")

@group.command()
def second(code: int) -> None:
    "The second."
    raise typer.Exit(code)

@hookimpl
def ganforge_commands():
    return {"greet": greet, "both": group}
"""


@pytest.fixture
def call(run, here):
    (here / "stranger.py").write_text(STRANGER)
    return lambda *arguments: run(*arguments, "--plugin", "stranger.py")


def test_commands_run_with_their_options(call):
    assert call("greet", "--name", "ann") == (0, "hello ann\n", "")
    assert call("both", "first") == (0, "one\n", "")
    assert call("both", "second", "7")[0] == 7
    assert "Greet somebody." in call("greet", "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["greet", "--name", "nobody"], "error: --name nobody: nobody is there - name somebody"),
        (["greet", "--fails"], "command 'greet' of plugin 'stranger' failed: KeyError: 'no such"),
        (["greet", "--nome", "x"], "No such option"),
        (["greed"], "unknown command 'greed' - did you mean 'greet'?"),
        (["trian"], "unknown command 'trian' - did you mean 'train'?"),
    ],
)
def test_a_mistake_is_one_line(call, arguments, said):
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_disabled_plugin_has_no_commands(call):
    assert call("greet", "--disable", "stranger")[0] == 2


def test_names_of_built_in_commands_are_refused(here):
    (here / "taker.py").write_text(
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_commands():\n    return {'train': lambda: None}\n"
    )
    with pytest.raises(PluginError, match="command 'train' is built in"):
        load_plugins([here / "taker.py"])


def test_the_list_of_built_in_commands_is_that_of_the_command_line():
    assert {name.split()[0] for name in typer.main.get_command(app).commands} == set(BUILT_IN_COMMANDS)


def test_a_part_that_is_no_command_is_refused(here):
    (here / "wrong.py").write_text(
        "from ganforge import hookimpl\n@hookimpl\ndef ganforge_commands():\n    return {'mine': 3}\n"
    )
    with pytest.raises(PluginError, match="must be a function or a typer.Typer"):
        load_plugins([here / "wrong.py"])


@pytest.mark.slow
def test_built_in_commands_do_not_import_plugins(here):
    (here / "broken.py").write_text("raise SystemExit('never imported')\n")
    for arguments in (["--help"], ["train", "--help"]):
        code = f"from ganforge.cli import main; main({[*arguments, '--plugin', 'broken.py']!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_commands_are_listed_and_described(call):
    assert "command: both, greet" in " ".join(call("plugins", "list")[1].split())
    assert "Greet somebody." in call("plugins", "info", "greet")[1]
    assert "Two commands." in call("plugins", "info", "both")[1]


def bare(name: str) -> None:
    print(name)


@pytest.mark.parametrize(("command", "said"), [(bare, "has no help: write a docstring")])
def test_a_command_that_breaks_the_contract_is_told_in_a_sentence(command, said):
    with pytest.raises(AssertionError, match=said):
        check_command(command)
