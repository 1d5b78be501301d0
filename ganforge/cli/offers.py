"""``ganforge train`` without arguments: print suggested commands, and at a terminal let the user choose one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from ganforge.core.console import console, print_result


def choose_offer(here: Path, out: Path) -> list[str]:
    """Return the arguments of the command that the user chose; empty if none was chosen."""
    from ganforge.session.offers import find_offers

    offers = find_offers(here, out)
    print_result("ganforge train needs training data. From this folder you can run:")
    for number, each in enumerate(offers, 1):
        print_result(f"  {number}  {each.words}\n     {each.command}")
    print_result("To write all settings to a file: ganforge init. To check images: ganforge data check FOLDER")
    if not (sys.stdin.isatty() and console.is_terminal):
        return []
    choice = typer.prompt(f"Choose [1-{len(offers)}; Enter for none]", default="", show_default=False)
    if choice.strip() not in map(str, range(1, len(offers) + 1)):
        return []
    return shlex.split(offers[int(choice) - 1].command)[1:]
