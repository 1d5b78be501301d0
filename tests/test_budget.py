"""A budget that buys too few steps is warned of: at the start, as soon as the speed is known, and at the end."""

import pytest

import ganforge
from ganforge.config.schema import TrainingConfig
from ganforge.training.budget import BudgetObserver, suggest_budget

NEED = "recognizable results need about 1,000 steps"


def watch(training, *steps, before=(0, 0.0)):
    """Messages of a run with these steps, each images and seconds so far: before its end, and at it."""
    said = []
    watcher = BudgetObserver(training, *before, said.append)
    for step in steps:
        watcher.step(*step)
    during = said.copy()
    watcher.finish()
    return during, said[len(during) :]


def test_a_budget_of_images_is_judged_at_once():
    few = f"warning: 500 images are 50 steps of 10 images; {NEED}: --images 10000"
    assert watch(TrainingConfig(batch=10, images=500)) == ([few], [])
    assert watch(TrainingConfig(batch=10, images=3000)) == ([], [])
    assert "25 steps of 20 images" in watch(TrainingConfig(batch=10, d_steps=2, images=500))[0][0]


def test_a_budget_of_minutes_is_judged_once_the_speed_is_known():
    training = TrainingConfig(batch=10, minutes=4)
    steps = [(10, 10.0), (20, 20.0), (30, 30.0)]  # one image per second: 240 in four minutes
    during, end = watch(training, *steps)
    assert during == [f"warning: about 24 steps of 10 images in 4 minutes; {NEED}: --minutes 167"]
    assert end == [f"warning: only 3 steps of 10 images; {NEED}: --resume --minutes 167"]
    assert watch(training, *steps[:1])[0] == []


def test_a_smaller_batch_is_suggested_where_it_has_enough_steps():
    training = TrainingConfig(batch=128, minutes=5)
    during, _ = watch(training, (1280, 20.0))  # 64 images per second: 19,200 in five minutes
    assert during == [f"warning: about 150 steps of 128 images in 5 minutes; {NEED}: --minutes 34 or --batch 16"]
    (found,) = watch(TrainingConfig(batch=128, d_steps=2, images=17_000))[0]
    assert found.endswith(f"{NEED}: --images 256000 or --batch 8")
    (found,) = watch(TrainingConfig(batch=128, images=7_999))[0]
    assert found.endswith(f"{NEED}: --images 128000")


def test_a_sufficient_budget_gets_an_estimate_once():
    for training in (TrainingConfig(batch=10, minutes=4), TrainingConfig(batch=10, images=24_000)):
        during, end = watch(training, (2000, 20.0), (4000, 40.0), (24_000, 240.0))
        assert (during, end) == (["at 100 images/s, samples are recognizable after about 2 minutes"], [])


def test_samples_that_are_recognizable_already_get_no_estimate():
    said = []
    watcher = BudgetObserver(TrainingConfig(batch=10, minutes=4), 0, 0.0, said.append)
    watcher.tick({"patch_distance": 0.2, "diversity": 0.9})
    watcher.step(2000, 20.0)
    assert said == []


def test_vectors_get_no_estimate():
    said = []
    watcher = BudgetObserver(TrainingConfig(batch=10, minutes=4), 0, 0.0, said.append, visual=False)
    watcher.step(2000, 20.0)
    assert said == []


def test_earlier_sittings_count():
    training = TrainingConfig(batch=10, minutes=6)
    during, end = watch(training, (4000, 320.0), before=(3000, 300.0))
    assert (during, end) == (["at 50 images/s, samples are recognizable after about 8 minutes"], [])
    assert watch(training, (11_000, 320.0), before=(10_990, 300.0)) == ([], [])


@pytest.mark.parametrize(
    ("images", "values", "verdict"),
    [
        (24_000, {"patch_distance": 0.08, "diversity": 0.9}, "samples show details"),
        (24_000, {"patch_distance": 0.2, "diversity": 0.9}, "samples show shapes"),
        (24_000, {"patch_distance": 0.2, "diversity": 0.3}, "samples show shapes, but too uniform: diversity 0.30, "),
        (
            8_000,
            {"patch_distance": 0.6},
            "warning: samples still show noise after 800 steps of 10 images: --resume --minutes 5",
        ),
        (
            24_000,
            {"patch_distance": 0.6},
            "warning: samples still show noise after 2,400 steps of 10 images: --resume --minutes 8",
        ),
        (
            1_000,
            {"patch_distance": 0.6},
            f"warning: only 100 steps of 10 images, and samples show noise; {NEED}: --resume",
        ),
        (24_000, {}, None),
    ],
)
def test_the_end_of_a_run_judges_its_samples(images, values, verdict):
    said = []
    watcher = BudgetObserver(TrainingConfig(batch=10, minutes=4), 0, 0.0, said.append)
    watcher.tick(values)
    watcher.step(images, images / 100)
    said.clear()
    watcher.finish()
    assert (said == []) if verdict is None else said[0].startswith(verdict)


def test_a_run_that_begins_with_the_weights_of_another_is_not_judged():
    assert watch(TrainingConfig(batch=10, images=20, init_from="a"), (20, 1.0)) == ([], [])


def test_a_short_run_is_warned_of_in_its_log(tmp_path):
    small = {"data.count": 8, "generator.width": 4, "discriminator.width": 4, "training.samples": 4}
    plain = {"training.engine": "eager", "training.precision": "float32", "training.layout": "contiguous"}
    run = ganforge.train(
        images=16, batch=8, resolution=8, device="cpu", settings=small | plain | {"training.threads": 1}, out=tmp_path
    )
    lines = [each for each in (run.path / "log.txt").read_text().splitlines() if each.startswith("warning: ")]
    assert [each.split(";")[0] for each in lines] == [
        "warning: 16 images are 2 steps of 8 images",
        "warning: only 2 steps of 8 images, and samples show noise",
    ]


def test_a_larger_budget_is_of_the_same_kind_and_reaches_recognizable_samples():
    assert suggest_budget(TrainingConfig(batch=10, minutes=1), 12_000, 240.1) == "--minutes 5"
    assert suggest_budget(TrainingConfig(batch=10, minutes=4), 2_000, 240.1) == "--minutes 21"
    assert suggest_budget(TrainingConfig(batch=10, images=12_000), 12_010, 240.1) == "--images 24020"
    assert suggest_budget(TrainingConfig(batch=10, images=100), 110, 240.1) == "--images 10000"
