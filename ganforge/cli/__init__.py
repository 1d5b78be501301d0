"""Command line. Every command parses its options, calls functions of other packages, and prints."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ganforge.cli.bench import bench
from ganforge.cli.common import CommandGroup, global_options
from ganforge.cli.compare import compare
from ganforge.cli.data import app as data_app
from ganforge.cli.demo import demo
from ganforge.cli.evaluate import evaluate
from ganforge.cli.explore import app as explore_app
from ganforge.cli.export import export
from ganforge.cli.extractor import app as extractor_app
from ganforge.cli.importing import import_checkpoint
from ganforge.cli.init import init
from ganforge.cli.options import option, switch
from ganforge.cli.plugin_commands import RootGroup
from ganforge.cli.plugins import app as plugins_app
from ganforge.cli.report import report
from ganforge.cli.runs import runs
from ganforge.cli.sample import sample
from ganforge.cli.train import train
from ganforge.cli.tune import tune
from ganforge.contract.errors import GanforgeError
from ganforge.core.console import console, print_result
from ganforge.core.ranks import process_rank
from ganforge.training.signals import Interrupted, raising_interrupts
from ganforge.version import __version__

app = CommandGroup(
    RootGroup,
    name="ganforge",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, explore, evaluate and export generative adversarial networks.",
    epilog="Plugins add commands: ganforge plugins list shows them.",
)

# The base class of all errors of typer's parser, which typer does not export.
ParserError: type[Any] = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")


@app.callback(invoke_without_command=True)
def options(
    plugin: Annotated[list[Path] | None, option("--plugin", "Load a one-file plugin. Repeatable.", "FILE.py")] = None,
    disable: Annotated[list[str] | None, option("--disable", "Skip a plugin. Repeatable.", "NAME")] = None,
    debug: Annotated[bool, switch("--debug", "Show the traceback of an error.")] = False,
    version: Annotated[bool, switch("--version", "Print the version.")] = False,
) -> None:
    """Read the options of every command; they may also stand after it."""
    global_options.plugins = plugin or []
    global_options.disabled = disable or []
    if version:
        print_result(f"ganforge {__version__}")
        raise typer.Exit


app.command("demo")(demo)
app.command("train")(train)
app.command("tune")(tune)
app.command("init")(init)
app.command("sample")(sample)
app.command("eval")(evaluate)
app.command("eval compare")(compare)
app.command("runs")(runs)
app.command("report")(report)
app.command("export")(export)
app.command("import")(import_checkpoint)
app.command("bench")(bench)
app.add_typer(explore_app, name="explore")
app.add_typer(data_app, name="data")
app.add_typer(extractor_app, name="extractor")
app.add_typer(plugins_app, name="plugins")

_HOISTED = {"--plugin": True, "--disable": True, "--debug": False}
"""Global options, and whether each takes a value."""


def hoist(arguments: list[str]) -> list[str]:
    """Move global options before the command, where the parser expects them, and join `eval compare` to one name.

    A run named compare is evaluated by `ganforge eval ./compare`.
    """
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        name = argument.split("=", 1)[0]
        taken = 1 + (name in _HOISTED and _HOISTED[name] and "=" not in argument)
        (front if name in _HOISTED else rest).extend(arguments[index : index + taken])
        index += taken
    if rest[:2] == ["eval", "compare"]:
        rest[:2] = ["eval compare"]
    return front + rest


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; an invalid option is one line and exit code 2, never a traceback."""
    given = hoist(sys.argv[1:] if arguments is None else arguments)
    console.quiet = process_rank() > 0
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may hold characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if given == ["train"]:
            from ganforge.cli.offers import choose_offer

            given = choose_offer(Path.cwd(), Path("runs")) or leave(0)
        global_options.arguments = given
        with raising_interrupts() as interrupted:
            code = app(given, prog_name="ganforge", standalone_mode=False)
        if interrupted:
            raise interrupted[0]
    except GanforgeError as error:
        if "--debug" in given:
            raise
        fail(error.message, error.hint, error.code)
    except ParserError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)  # the help text is printed already
        fail(
            " ".join(error.format_message().split()),
            f"see {error.ctx.command_path if error.ctx else 'ganforge'} --help",
        )
    except Interrupted as error:
        if not process_rank():
            with suppress(OSError):  # the terminal may be gone
                sys.stderr.write(f"stopped by {error.number.name}\n")
        leave(128 + error.number)
    except (KeyboardInterrupt, typer.Abort):
        leave(130)
    except BrokenPipeError:  # the reader of the output is gone
        sys.stderr.close()
        leave(1)
    except OSError as error:  # a file that the user named, or the disk
        if "--debug" in given:
            raise
        fail(f"{error.filename or 'system error'}: {error.strerror or error}", "")
    except (MemoryError, RuntimeError) as error:
        from ganforge.core.out_of_memory import is_out_of_memory

        if "--debug" in given or not is_out_of_memory(error):
            raise
        requested = re.search(r"allocate ([\d.]+ \w+)", str(error))
        fail(
            f"out of memory{f', {requested[1]} more were requested' if requested else ''}",
            "use a smaller batch, network, resolution or number of images",
        )
    leave(code if isinstance(code, int) else 0)


def fail(message: str, hint: str, code: int = 2) -> NoReturn:
    """Print an error and its hint as one line, if the main process does not print it, and exit."""
    who = f"process {process_rank()}: " if process_rank() else ""
    if message:
        sys.stderr.write(f"{who}error: {_one_line(message)}{f' - {_one_line(hint)}' if hint else ''}\n")
    leave(code)


def leave(code: int) -> NoReturn:
    """Exit; with an initialized process group at once, since regular finalization would abort the process."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _one_line(text: str, most: int = 2000) -> str:
    """Return untrusted text as one line without control characters, shortened."""
    shown = "".join(each if each.isprintable() else " " if each.isspace() else ascii(each)[1:-1] for each in text)
    return shown if len(shown) <= most else f"{shown[: most // 2]} ... {shown[-most // 2 :]}"
