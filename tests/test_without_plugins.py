"""A run is sampled, evaluated, exported and reported without the plugins that only its training needs."""

import pytest

PLUGIN = """
import torch
from ganforge import Callback, Loss, Optimizer, Recipe, Regularizer, hookimpl

class Half(Loss):
    def discriminator(self, logits):
        return (torch.relu(1 - logits.real) + torch.relu(1 + logits.fake)).mean() / 2

    def generator(self, logits):
        return -logits.fake.mean() / 2

class Small(Regularizer):
    def discriminator(self, step):
        return step.logits.real.square().mean()

class Descent(Optimizer):
    def build(self, parameters, lr):
        return torch.optim.SGD(parameters, lr)

class Silent(Callback):
    pass

@hookimpl
def ganforge_losses():
    return {"half": Half}

@hookimpl
def ganforge_regularizers():
    return {"small": Small}

@hookimpl
def ganforge_optimizers():
    return {"descent": Descent}

@hookimpl
def ganforge_callbacks():
    return {"silent": Silent}

@hookimpl
def ganforge_recipes():
    parts = {"generator": {"name": "dcgan", "width": 4}, "discriminator": {"name": "dcgan", "width": 4}}
    return {"own": Recipe(summary="Own.", source="None", settings={**parts, "loss": {"name": "half"}})}
"""

SMALL = "--resolution 8 --batch 4 --images 8 --device cpu --engine eager --set training.holdout=0.2"


@pytest.mark.slow
def test_plugins_that_only_training_needs_may_be_gone(run, here, few_avatars):
    (here / "own.py").write_text(PLUGIN)
    parts = "--arch own --reg small --callback silent --set optimizer.name=descent --plugin own.py"
    code, _, err = run("train", *parts.split(), *SMALL.split())
    assert code == 0, err
    (here / "own.py").unlink()
    exported = "runs/00000-own-half-avatars/export/generator.pt"
    measured = "--extractor classifier --samples 32 --split held-out"
    for command in (
        "sample",
        "explore directions",
        "export --torchscript",
        f"eval --fid {measured}",
        f"eval --fid {exported} {measured}",
        "eval --linear-probe",
        "report",
    ):
        code, _, err = run(*command.split())
        assert code == 0, (command, err)
    code, _, err = run("train", "--resume", "--images", "16")
    assert code == 2
    assert "own" in err.strip().splitlines()[-1]
