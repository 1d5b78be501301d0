"""``ganforge tune``: successive halving over runs, its budget, resuming, and what it prints."""

import json
import math
import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest

from ganforge import OptionError
from ganforge.config.schema import resolve
from ganforge.contract.errors import DivergenceError
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder
from ganforge.session import tuning
from ganforge.session.tuning import Search, default_axes, make_plan, parse_axis

SMALL = [
    "--arch", "mlp", "--batch", "8", "--device", "cpu", "--precision", "float32", "--set", "training.engine=eager",
    "--set", "training.samples=4", "--set", "generator.hidden=8", "--set", "discriminator.hidden=8",
    "--set", "training.eval_samples=16", "--set", "training.threads=1", "--set", "training.layout=contiguous",
]  # fmt: skip


def plan_for(axes, *layers, **training):
    return make_plan(resolve(Registry.installed(), *layers, {"training": training}), axes)


class Silent:
    """Console that keeps what is said."""

    def __init__(self):
        self.said = []
        self.say = self.said.append
        self.progress = lambda title: nullcontext(lambda done, total: None)


def test_rounds_keep_the_square_root_and_share_the_budget():
    axes = [parse_axis("a.b=1,2,3,4,5"), parse_axis("c.d,e.f=6,7,8")]
    plan = plan_for(axes, images=1600)
    assert plan.rounds == [15, 4, 1]
    assert plan.trials[4] == {"a.b": "2", "c.d": "7", "e.f": "7"}
    assert [plan.budget(index) for index in range(3)] == [{"images": 100}, {"images": 400}, {"images": 1600}]
    plan = plan_for(axes, minutes=30)
    totals = [plan.budget(index)["minutes"] for index in range(3)]
    added = [totals[0], totals[1] - totals[0], totals[2] - totals[1]]
    assert [count * each for count, each in zip(plan.rounds, added, strict=True)] == pytest.approx([10, 10, 10])


def test_default_axes_are_gamma_and_the_rates():
    rates = {"optimizer": {"generator_lr": 2e-4, "discriminator_lr": 1e-4}}
    gamma, rate = default_axes(resolve(Registry.installed(), {"recipe": "rpgan"}, rates))
    assert gamma == parse_axis("regularizers.r1.weight,regularizers.r2.weight=0.1,0.3,1,3,10")
    assert rate.keys == ("optimizer.generator_lr", "optimizer.discriminator_lr")
    assert rate.values == (("0.0001", "5e-05"), ("0.0002", "0.0001"), ("0.0004", "0.0002"))


@pytest.mark.parametrize("text", ["a.b", "a.b=1", "=1,2", "a.b=1,", "a.b=1,1"])
def test_invalid_values_are_refused(text):
    with pytest.raises(OptionError, match="is not of the form"):
        parse_axis(text)


def test_too_many_combinations_are_refused():
    with pytest.raises(OptionError, match="257 combinations are too many .the most is 256"):
        plan_for([parse_axis(f"a.b={','.join(map(str, range(257)))}")])


def results_of(folder):
    """Read scores by run and images."""
    found = {}
    for run in sorted(folder.glob("*-trial-*")):
        rows = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
        found[run.name] = [(row["images"], *list(row.values())[2:3]) for row in rows if "picture" not in row]
    return found


@pytest.mark.slow
def test_the_best_runs_go_on_and_a_stopped_search_is_resumed(run, here, image_folder, monkeypatch):
    rates = "0.0001,0.001,0.003,0.01"
    search = ["tune", "--data", image_folder, "--images", "64", "--vary", f"optimizer.generator_lr={rates}", *SMALL]
    code, out, err = run(*search)
    assert code == 0, err
    whole = results_of(here / "runs/tune-00000")
    scores = {name: [score for _, score in rows] for name, rows in whole.items()}
    kept = sorted(scores, key=lambda name: scores[name][0])[:2]
    best = min(kept, key=lambda name: scores[name][1])
    assert {name: len(each) for name, each in scores.items()} == {
        name: 1 + (name in kept) + (name == best) for name in scores
    }
    assert out.strip() == f"runs/tune-00000/{best}"
    assert f"{dict(whole[best])[64]:.4g}" in err
    assert f"ganforge train --resume runs/tune-00000/{best}" in err

    train, begun = Search._train, []

    def stop_after_two(self, index, trial):
        begun.append(trial)
        return train(self, index, trial) if len(begun) < 3 else signal.SIGINT

    with monkeypatch.context() as patch:
        patch.setattr(Search, "_train", stop_after_two)
        code, _, err = run(*search)
    assert code == 130
    assert "ganforge tune --resume runs/tune-00001" in err
    code, out, err = run("tune", "--resume", "runs/tune-00001")
    assert code == 0, err
    assert results_of(here / "runs/tune-00001") == whole
    code, again, _ = run("tune", "--resume", "runs/tune-00001")  # finished already
    assert (code, again) == (0, out)


def test_the_configuration_of_a_run_without_scores_is_searched(run, here, image_folder, monkeypatch):
    data = {"source": str(image_folder), "resolution": 16}
    config = resolve(
        Registry.installed(), {"recipe": "mlp", "data": data, "training": {"images": 8, "engine": "eager"}}
    )
    (here / "config.json").write_text(json.dumps(config.tree()))
    plans = []
    monkeypatch.setattr(Search, "run", lambda self: plans.append(self.plan) or ([], signal.SIGINT))
    code, _, err = run("tune", "--config", "config.json", "--vary", "optimizer.beta1=0,0.5")
    assert code == 130, err
    training = plans[0].config["training"]
    assert (training["metrics"], training["eval_every"], plans[0].images) == (["fd"], 1_000_000, 8)


def test_a_run_that_diverges_is_the_last(here, monkeypatch):
    axes = [parse_axis("optimizer.generator_lr=1,2")]
    plan = plan_for(axes, {"recipe": "mlp", "data": {"source": "ring-8", "count": 8}}, images=8)

    class Fails:
        def __init__(self, *_arguments):
            """Build nothing."""

        def start(self, out, name):
            raise DivergenceError("training diverged")

    monkeypatch.setattr(tuning, "Trainer", Fails)

    console = Silent()
    results, stopped = Search.create(here, plan, Registry.installed(), console).run()
    assert stopped is None
    assert [each.score for each in results] == [math.inf] * 3
    assert console.said.count("training diverged") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "generator.widht=1,2"], "no option 'widht'"),
        (["--vary", "generator.width=1"], "not of the form"),
        (["--resume"], "such as --resume runs/tune-00000"),
        (["--resume", "nowhere"], "nowhere: not a folder of a search"),
        (["--resume", "nowhere", "--batch", "8"], "--resume keeps the settings"),
        (["--images", "8", "--minutes", "1"], "two budgets"),
        (["--data", "photos", "--vary", "generator.z_dim=4,-1"], "z_dim=-1 must be at least 1"),
        (["--data", "vectors.npy"], "vectors holds no images"),
        (["--arch", "mlp", "--set", "optimizer.generator_lr=0"], "no gamma or rate"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_run(run, here, image_folder, arguments, message):
    np.save("vectors.npy", np.zeros((8, 2), np.float32))
    code, out, err = run("tune", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("error: ") == 1
    assert not (here / "runs").exists()


GOOD = {"config": {}, "trials": [{}], "images": 8, "minutes": None}


@pytest.mark.parametrize("content", [
    "", "{", "[]", json.dumps(GOOD | {"trials": 3}), json.dumps(GOOD | {"trials": []}),
    json.dumps(GOOD | {"images": None}), json.dumps(GOOD | {"minutes": 3.0}),
])  # fmt: skip
def test_a_damaged_plan_is_one_line(run, here, content):
    (here / "tune-00000").mkdir()
    (here / "tune-00000/tune.json").write_text(content)
    code, _, err = run("tune", "--resume", "tune-00000")
    assert code == 2
    assert "tune.json is damaged" in err


def test_a_search_of_another_user_is_refused(run, here, monkeypatch):
    (here / "tune-00000").mkdir()
    (here / "tune-00000/tune.json").write_text(json.dumps(GOOD))
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    code, _, err = run("tune", "--resume", "tune-00000")
    assert code == 2
    assert "tune-00000 belongs to another user" in err
