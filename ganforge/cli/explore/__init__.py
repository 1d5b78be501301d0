"""``ganforge explore``: look around in the latent space of a trained generator."""

import typer

from ganforge.cli.explore.arith import arith
from ganforge.cli.explore.directions import directions
from ganforge.cli.explore.mix import mix
from ganforge.cli.explore.project import project
from ganforge.cli.explore.styles import noise, truncation
from ganforge.cli.explore.walk import walk

app = typer.Typer(
    no_args_is_help=True,
    help="Look around in the latent space of a trained generator. Every command writes a picture, by default into the "
    "run's folder explore/, and beside it a JSON file that says how to make it again.",
)

for command in (walk, arith, project, directions, mix, truncation, noise):
    app.command(command.__name__)(command)
