"""``ganforge explore``: the latent space of a trained generator."""

from ganforge.cli.common import CommandGroup
from ganforge.cli.explore.arith import arith
from ganforge.cli.explore.common import with_shared_options
from ganforge.cli.explore.directions import directions
from ganforge.cli.explore.drag import drag
from ganforge.cli.explore.mix import mix
from ganforge.cli.explore.project import project
from ganforge.cli.explore.styles import noise, truncation
from ganforge.cli.explore.walk import walk

app = CommandGroup(
    help="Explore the latent space of a trained generator. Every command writes a picture, by default into explore/ in "
    "the run, and a JSON file beside it that records how to reproduce it."
)

for command in (walk, arith, project, directions, mix, truncation, noise, drag):
    app.command(command.__name__)(with_shared_options(command))
