"""``ganforge-hub``: generators to the hub and from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from ganforge import GanforgeError

from ganforge_huggingface import hub

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Generators to the Hugging Face Hub and from it.")

Repo = Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository.")]


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Written by `ganforge export --format huggingface`.")],
    repo: Repo,
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one.")] = False,
) -> None:
    """Upload a generator with its model card."""
    typer.echo(hub.push(folder, repo, private=private))


@app.command()
def pull(
    repo: Repo,
    to: Annotated[Path | None, typer.Option("--to", help="A folder; by default NAME.", show_default=False)] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit, tag or branch.")] = None,
) -> None:
    """Download a generator with its model card."""
    path = hub.pull(repo, to or Path(repo.rpartition("/")[2]), revision=revision)
    typer.echo(f"next: ganforge sample {path}", err=True)
    typer.echo(path)


def main() -> None:
    """Run the command line; what a user can mend is one line, and exit code 2."""
    try:
        app()
    except GanforgeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
