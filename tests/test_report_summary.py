"""The summary of a report says in sentences what a run has recorded, and nothing else."""

import json
import re

import pytest

from ganforge.report.reading import read_runs
from ganforge.report.summary import describe_results, summary_section
from ganforge.runs.folder import RunFolder

TICK = {"seconds": 60.0, "images_per_second": 100.0}


def write_run(place, ticks=(), scores=(), evaluations=(), config=None):
    """A run of 5 examples a step from rows of images and values."""
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({"recipe": "dcgan", "training": {"batch": 5, **(config or {})}}))
    rows = [{**TICK, "images": images, **values} for images, values in ticks]
    rows += [{"images": images, "seconds": 60.0, **values} for images, values in scores]
    (place / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    common = {"details": {}, "subject": {"kind": "run", "name": "x", "digest": "d"}, "circumstances": {"data": "x"}}
    rows = [{"protocol": {}, "notes": [], **common, **each} for each in evaluations]
    (place / "evaluations.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return read_runs([RunFolder(place)])[0]


def patches(*distances):
    return [(1000 * (number + 1), {"patch_distance": each}) for number, each in enumerate(distances)]


SAID = {  # rows of a run, and all sentences
    "nothing": ({}, []),
    "noise": (
        {"ticks": patches(0.5)},
        [
            "After 1,000 images, samples show noise.",
            "Nothing is recognizable: the patch distance is 0.5, and shapes begin below 0.35.",
        ],
    ),
    "shapes, and better ones": (
        {"ticks": patches(0.5, 0.3, 0.2)},
        [
            "After 3,000 images, samples show shapes.",
            "Details are wrong or missing: the patch distance is 0.2, and details begin below 0.15.",
            "The patch distance still improves: its lowest value, 0.2, was measured after 3,000 images.",
        ],
    ),
    "shapes, and no better ones": (
        {"ticks": patches(0.5, 0.21, 0.22, 0.23)},
        [
            "After 4,000 images, samples show shapes.",
            "Details are wrong or missing: the patch distance is 0.23, and details begin below 0.15.",
            "The patch distance has not improved since 2,000 images: it was 0.21 then, and 0.23 after 4,000 images.",
        ],
    ),
    "details, of which the patch distance ranks none": (
        {"ticks": patches(0.5, 0.11, 0.12, 0.13)},
        [
            "After 4,000 images, samples show details.",
            "Small patches resemble those of real images: the patch distance is 0.13. Objects are not measured.",
        ],
    ),
    "scores count before patches": (
        {
            "ticks": [(4000, {"diversity": 0.9})],
            "scores": [(2000, {"fd": 3.0}), (3000, {"fd": 4.0, "memorization": 0})],
        },
        [
            "Samples vary 0.90 times as much as the data.",
            "fd has not improved since 2,000 images: it was 3 then, and 4 after 3,000 images.",
        ],
    ),
    "alike": (
        {"ticks": [(9000, {"diversity": 0.25, "memorization": 0.31})]},
        [
            "Samples vary 0.25 times as much as the data, and are too much alike.",
            "Memorization 0.31: samples copy training images.",
        ],
    ),
    "evaluations": (
        {
            "ticks": [(9000, {})],
            "evaluations": [
                {"metric": "recall", "value": 0.1},
                {"metric": "recall_clip", "value": 0.625, "protocol": {"extractor": "clip", "truncation": 0.7}},
                {
                    "metric": "modes",
                    "value": 18,
                    "details": {"coverage": {"num_covered": 18, "num_modes": 20}},
                    "subject": {"kind": "run", "name": "x", "digest": "d", "images_seen": 500},
                    "protocol": {"truncation": 1.0},
                },
                {"metric": "memorization_pixels", "value": 0.125},
                {"metric": "precision", "value": None},
            ],
        },
        [
            "Recall is 0.62: this share of real images lies near samples, by features of clip, at truncation 0.7.",
            "Samples cover 18 of 20 modes, after 500 images.",
            "12.5% of samples are as near to a training image as the nearest 5% of unseen images are.",
        ],
    ),
    "undefined values": (
        {
            "ticks": [(9000, {"patch_distance": None, "diversity": None})],
            "evaluations": [{"metric": "recall", "value": None}],
        },
        ["At the end these values are not finite: patch_distance, diversity."],
    ),
    "a warning at the end": (
        {"ticks": [(9000, {"warnings": ["mode collapse: try --reg r1"]})]},
        ["At the end there is a warning: mode collapse: try --reg r1."],
    ),
    "a warning that is gone": (
        {"ticks": [(8000, {"warnings": ["mode collapse: try --reg r1"]}), (9000, {})]},
        ["The last warning came after 8,000 images, and was gone at the end: mode collapse: try --reg r1."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_sentences_say_what_was_measured(tmp_path, case):
    rows, sentences = SAID[case]
    assert describe_results(write_run(tmp_path / "00000-run", **rows)) == sentences


@pytest.mark.parametrize(("rows", "said", "command"), [
    # 10 images/s: 1,000 steps of 5 images take 500 s, of which 60 s are over
    ({"ticks": [(600, {"patch_distance": 0.4})]}, "taken 120 steps. At the mean speed, this takes 7", " --images 5000"),
    # 2,000 images a minute
    ({"ticks": patches(0.5, 0.2), "config": {"images": 8000}}, "may help. At the mean speed, this takes 3 more", ""),
    ({"ticks": patches(0.5, 0.2), "config": {"images": 2000}}, "this takes 2 more minutes:", " --images 5000"),
    ({"ticks": patches(0.5, 0.2), "config": {"minutes": 10}}, "this takes 9 more minutes:", ""),
    ({"ticks": patches(0.5, 0.2), "config": {"minutes": 1}}, "this takes 2 more minutes:", " --minutes 3"),
    ({"ticks": patches(0.2, 0.3), "config": {"minutes": 10}}, None, None),  # no longer improves
    ({"ticks": [(1500, {"patch_distance": 0.3, "memorization": 0.5})]}, None, None),  # copies
    ({"ticks": [(600, {})], "config": {"init_from": "other"}}, None, None),  # few steps after many of another run
])  # fmt: skip
def test_more_training_is_suggested_where_it_may_help(tmp_path, rows, said, command):
    page = re.sub("</?span>", "", summary_section([write_run(tmp_path / "00000-run", **rows)]))
    if said is None:
        assert "--resume" not in page
    else:
        assert said in page
        assert f"ganforge train --resume {tmp_path}/00000-run{command}</code>" in page


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path):
    for place in ("one/0-x", "two/0-x", "three/1-y"):
        write_run(tmp_path / place)
    folders = [RunFolder(tmp_path / place) for place in ("one/0-x", "two/0-x", "three/1-y")]
    assert [each.name for each in read_runs(folders)] == ["one/0-x", "two/0-x", "three/1-y"]
    assert [each.name for each in read_runs(folders[1:])] == ["0-x", "1-y"]


def test_damaged_settings_are_told_of_and_others_still_shown(tmp_path):
    run = write_run(tmp_path / "00000-run", ticks=patches(0.5), config={"batch": "many"})
    assert len(run.problems) == 1
    assert "config.json: training.batch" in run.problems[0]
    assert "--images</span> 64000" in summary_section([run])  # 1,000 steps of the default batch
