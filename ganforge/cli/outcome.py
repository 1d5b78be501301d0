"""Results of a training run, as ``ganforge train`` prints them."""

from __future__ import annotations

import shlex

from ganforge.config.schema import TrainingConfig
from ganforge.core.console import print_result, say
from ganforge.runs.checkpoint import read_card, read_spec
from ganforge.session.terminal import describe_scores
from ganforge.session.trainer import Finished
from ganforge.training.budget import suggest_budget


def print_outcome(finished: Finished, training: TrainingConfig) -> None:
    """Print the results of a run and the next commands."""
    folder, outcome = finished.folder, finished.outcome
    run = shlex.quote(str(folder.path))
    say(f"{outcome.images} images in {outcome.seconds / 60:.1f} minutes")
    if finished.best and finished.last:
        say(describe_scores(finished.best, finished.last, folder.best_generator.name))
    if outcome.stopped:
        say(f"stopped by {outcome.stopped.name}; resume with: ganforge train --resume {run}")
        return
    say(f"samples:    {folder.sample_path(outcome.images)}")
    say(f"animation:  {folder.animation}\nweights:    {folder.generator}")
    paired = read_spec(read_card(folder.generator)).source_shape
    say(
        f"next:       ganforge sample {run} {'--source FOLDER' if paired else '--count 16'}\n"
        f"            ganforge train --resume {run} {suggest_budget(training, outcome.images, outcome.seconds)}\n"
        f"            ganforge report {run}; also explore, eval and export"
    )
    print_result(str(folder.path))
