"""Command ``ganforge hub``: push and pull generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge_huggingface import hub

app = typer.Typer(no_args_is_help=True, help="Push generators to the Hugging Face Hub and pull them.")

Repo = Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository.")]


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of `ganforge export --format huggingface`.")],
    repo: Repo,
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
) -> None:
    """Upload a generator with its model card."""
    typer.echo(hub.push(folder, repo, private=private))


@app.command()
def pull(
    repo: Repo,
    to: Annotated[Path | None, typer.Option("--to", help="Target folder; NAME by default.", show_default=False)] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="Commit, tag or branch.")] = None,
) -> None:
    """Download a generator with its model card."""
    path = hub.pull(repo, to or Path(repo.rpartition("/")[2]), revision=revision)
    typer.echo(f"next: ganforge sample {path}", err=True)
    typer.echo(path)
