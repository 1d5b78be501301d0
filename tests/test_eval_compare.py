"""Evaluations side by side: only what was made by one protocol is compared, and all else is named."""

import dataclasses
import hashlib
import json
import os

import pytest
import torch

from ganforge.cli import app, hoist
from ganforge.contract.errors import OptionError
from ganforge.evaluation.results.comparability import Contender, agree, find_shared, judge, separate
from ganforge.evaluation.results.differences import find_differences
from ganforge.evaluation.results.result import FILE, Evaluation, append_rows, read_rows
from ganforge.evaluation.statistics import Interval
from ganforge.runs.checkpoint import read_card, save_tensors

PROTOCOL = {
    "extractor": "inception",
    "weights_sha256": "6" * 64,
    "num_samples": 50000,
    "num_references": 60000,
    "split": "train",
    "holdout": 0.0,
    "data_fingerprint": "d" * 64,
    "truncation": 1.0,
}


def row(
    value=20.0, *, metric="fid", reach=0.5, better="lower", second=0, subject=None, device="cpu", torch="2.11", **of
):
    """An evaluation as `ganforge eval` writes it; what else is given is of its protocol."""
    interval = None if reach is None else Interval(value=value, low=value - reach, high=value + reach, level=0.95)
    about = {
        "kind": "generator",
        "name": "somewhere",
        "digest": "a" * 64,
        "weights": "averaged",
        "images_seen": 300_000,
    }
    return Evaluation(
        metric=metric,
        value=value,
        interval=interval,
        better=better,
        protocol={**PROTOCOL, **of},
        subject={**about, **(subject or {})},
        circumstances={
            "data": "digits",
            "device": device,
            "versions": {"torch": torch},
            "date": f"2030-01-01T00:00:{second:02}+00:00",
        },
    )


def contenders(**rows):
    return [Contender(label=label, name=label.lower(), rows=own) for label, own in rows.items()]


def values(agreement):
    return {each.metric: {label: one.value for label, one in each.rows.items()} for each in agreement.compared}


# What is compared


def test_the_newest_evaluation_of_each_counts():
    found = agree(contenders(A=[row(30, second=2), row(21, second=1)], B=[row(19, second=0), row(18, second=0)]))
    assert values(found) == {"fid": {"A": 30, "B": 18}}


def test_of_several_common_protocols_that_of_the_newest_evaluation_is_taken():
    few, many = {"num_samples": 10000}, {"num_samples": 50000}
    ours = [row(1, second=1, **many), row(2, second=5, **few), row(9, second=9, split="all")]
    theirs = [row(3, second=2, **few), row(4, second=4, **many)]
    found = find_shared({"A": ours, "B": theirs})
    assert {label: each.value for label, each in found.items()} == {"A": 2, "B": 3}
    found = find_shared({"A": ours, "B": [*theirs, row(5, second=6, **many)]})
    assert {label: each.value for label, each in found.items()} == {"A": 1, "B": 5}


def test_a_protocol_must_be_shared_by_all_and_not_by_two_of_three():
    few = row(num_samples=10000)
    assert find_shared({"A": [row(), few], "B": [row(), few], "C": [few]})["A"] is few
    assert find_shared({"A": [row()], "B": [row()], "C": [few]}) is None


def test_seed_device_versions_and_date_may_differ_and_the_note_says_which_do():
    found = agree(
        contenders(A=[row(), row(metric="kid")], B=[row(10, device="cuda:0 (H100)", second=7), row(metric="kid")])
    )
    assert values(found)["fid"] == {"A": 20, "B": 10}
    assert [note for note in found.notes if "devices or versions" in note] == [
        "computed on different devices or versions: device is cpu for A, cuda:0 (H100) for B"
    ]
    found = agree(contenders(A=[row()], B=[row(torch="2.12")], C=[row()]))
    assert "computed on different devices or versions: versions.torch is 2.11 for A and C, 2.12 for B" in found.notes
    assert not [note for note in agree(contenders(A=[row()], B=[row(second=3)])).notes if "devices or versions" in note]


# What is refused


def test_every_field_that_differs_is_named_with_each_sides_value():
    ours, theirs = row(), row(num_samples=10000, split="held-out", data_fingerprint="e" * 64)
    found = agree(contenders(A=[ours, row(metric="kid")], B=[theirs, row(metric="kid")]))
    assert list(values(found)) == ["kid"]
    assert [each.describe() for each in found.refused] == [
        "fid: num_samples is 50000 for A, 10000 for B; split is train for A, held-out for B; "
        "data_fingerprint is dddddddd for A, eeeeeeee for B"
    ]


@pytest.mark.parametrize("name", sorted(PROTOCOL))
def test_no_field_of_the_protocol_may_differ(name):
    with pytest.raises(OptionError, match=rf"fid: {name} is .* for A, other for B \("):
        agree(contenders(A=[row()], B=[row(**{name: "other"})]))


def test_the_newest_evaluations_are_those_whose_fields_are_named():
    ours = [row(num_samples=1000, second=9), row(num_samples=50000, second=1)]
    with pytest.raises(OptionError, match="num_samples is 1000 for A, 10000 for B"):
        agree(contenders(A=ours, B=[row(num_samples=10000)]))


def test_fields_of_fields_and_fields_that_are_absent_are_named():
    ours, theirs = {"classifier": {"accuracy": 0.9, "name": "x"}}, {"classifier": {"accuracy": 0.8, "name": "x"}}
    assert [each.describe() for each in find_differences({"A": ours, "B": theirs})] == [
        "classifier.accuracy is 0.9 for A, 0.8 for B"
    ]
    assert [each.describe() for each in find_differences({"A": {"splits": 10}, "B": {}, "C": {"splits": 10}})] == [
        "splits is 10 for A and C, absent for B"
    ]
    assert [each.field for each in find_differences({"A": {"classifier": None}, "B": ours})] == ["classifier"]
    assert find_differences({"A": ours, "B": json.loads(json.dumps(ours))}) == []


def test_where_nothing_can_be_compared_the_error_says_what_to_run():
    with pytest.raises(OptionError) as caught:
        agree(contenders(A=[row()], B=[row(num_samples=10000)]))
    assert caught.value.message == "evaluations are not comparable: fid: num_samples is 50000 for A, 10000 for B"
    assert caught.value.hint == "evaluate with equal options: ganforge eval a b --fid ..."
    with pytest.raises(OptionError) as caught:
        agree(contenders(A=[row()], B=[row(data_fingerprint="e" * 64)]))
    assert caught.value.hint.endswith("ganforge eval a b --fid --data SET ...")
    raw = {"weights": "raw"}
    with pytest.raises(OptionError) as caught:
        agree(contenders(A=[row(subject=raw)], B=[row(subject=raw, truncation=0.5)]))
    assert caught.value.hint.endswith("ganforge eval a b --fid --raw ...")


def test_without_a_common_metric_the_error_says_who_has_what():
    with pytest.raises(OptionError, match="no metric was evaluated for all: A has fid and kid, B has is, C has none"):
        agree(contenders(A=[row(), row(metric="kid")], B=[row(metric="is")], C=[]))


def test_metrics_that_some_lack_are_named():
    found = agree(contenders(A=[row(), row(metric="kid")], B=[row(), row(metric="is")], C=[row(), row(metric="kid")]))
    assert list(values(found)) == ["fid"]
    assert "not evaluated: kid for B; is for A and C" in found.notes


def test_metrics_can_be_limited():
    both = [row(), row(metric="kid"), row(metric="is")]
    assert list(values(agree(contenders(A=both, B=both), ["is", "fid"]))) == ["fid", "is"]
    with pytest.raises(OptionError) as caught:
        agree(contenders(A=both, B=both), ["kidd"])
    assert str(caught.value) == "--metric kidd: no evaluation has this metric (did you mean 'kid'?)"
    with pytest.raises(OptionError, match=r"A has kid, B has none \("):
        agree(contenders(A=both, B=[row()]), ["kid"])


# Weights that are gone


def test_rows_of_other_weights_are_set_apart():
    old, new = row(subject={"digest": "b" * 64}), row()
    assert separate([old, new], "a" * 64) == ([new], [old])


def test_what_was_evaluated_before_the_run_went_on_is_named_and_not_compared():
    old = row(1.0, subject={"digest": "b" * 64, "images_seen": 200_000})
    kid = dataclasses.replace(old, metric="kid")
    ours = Contender(label="A", name="a", rows=[row(20)], stale=[old, kid], images_seen=300_000)
    found = agree([ours, *contenders(B=[row(10), row(metric="kid")])])
    assert values(found) == {"fid": {"A": 20, "B": 10}}
    told = "A: kid evaluated after 200,000 images; the current weights have seen 300,000"
    assert [note for note in found.notes if "200,000" in note] == [f"{told}; evaluate it again"]
    with pytest.raises(OptionError, match=rf"A has none, B has kid; {told} \("):
        agree([ours, *contenders(B=[row(10), row(metric="kid")])], ["kid"])


def test_other_weights_of_as_many_images_are_said_to_be_others():
    old = row(1.0, metric="kid", subject={"digest": "b" * 64})
    ours = Contender(label="A", name="a", rows=[row()], stale=[old], images_seen=300_000)
    assert (
        "A: kid evaluated with weights other than the current ones; evaluate it again"
        in agree([ours, *contenders(B=[row()])]).notes
    )


# Who is best


def test_the_best_is_the_lowest_or_the_highest_as_the_metric_has_it():
    assert judge("fid", {"A": row(20), "B": row(10)}).best == "B"
    assert judge("is", {"A": row(20, better="higher"), "B": row(10, better="higher")}).best == "A"


def test_overlapping_intervals_tell_no_difference():
    tied = judge("fid", {"A": row(20), "B": row(19.5)})
    assert (tied.best, tied.tied, tied.verdict) == (None, ("B", "A"), "no significant difference")
    assert judge("fid", {"A": row(20), "B": row(18.9)}).verdict == "B"
    some = judge("fid", {"A": row(20), "B": row(19.5), "C": row(40)})
    assert some.verdict == "B and A: no significant difference"


def test_an_interval_within_another_overlaps_it():
    assert judge("fid", {"A": row(20, reach=5), "B": row(19, reach=0.1)}).tied == ("B", "A")
    assert judge("fid", {"A": row(19, reach=5), "B": row(20, reach=0.1)}).tied == ("A", "B")


@pytest.mark.parametrize(
    "other", [row(10, reach=None), row(10, better=None), dataclasses.replace(row(10), value=None)], ids=str
)
def test_without_intervals_order_or_value_nothing_is_said(other):
    other_first = judge("fid", {"B": other, "A": dataclasses.replace(row(20), better=other.better)})
    assert (other_first.best, other_first.tied, other_first.verdict) == (None, (), "")


def test_a_gap_that_a_seed_alone_brings_is_warned_of():
    apart, near = (agree(contenders(A=[row(10, reach=0.01)], B=[row(value, reach=0.01)])) for value in (12, 10.1))
    assert "another training seed alone changes" in apart.notes[-1]
    assert "%" not in apart.notes[-1]
    assert near.notes[-1].endswith("(fid's is 1.0%)")
    assert near.compared[0].best == "A"


def test_what_rows_say_of_themselves_is_said_once():
    biased = dataclasses.replace(row(), notes=("biased upwards",))
    assert agree(contenders(A=[biased], B=[biased])).notes.count("biased upwards") == 1


# The command


@pytest.fixture
def make_run(here):
    """Make what a run leaves that is evaluated; gives its folder."""

    def make(name, *rows, images=300_000, under="runs"):
        folder = here / under / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")
        weights = {"weight": torch.full((1,), float(images) + len(name))}
        save_tensors(folder / "generator.safetensors", weights, {"kind": "generator", "images": images})
        about = {"name": str(folder), "digest": read_card(folder / "generator.safetensors")["digest"]}
        append_rows(folder / FILE, [dataclasses.replace(each, subject={**each.subject, **about}) for each in rows])
        return folder

    return make


def test_runs_are_compared_by_number_name_or_folder(run, make_run):
    make_run("00000-first", row(20), row(0.01, metric="kid", reach=0.001))
    make_run("00001-second", row(10), row(0.01, metric="kid", reach=0.001))
    third = make_run("00002-third", row(15), row(0.01, metric="kid", reach=0.001), under="elsewhere")
    code, out, err = run("eval", "compare", "0", "00001-second", third)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:3] == [
        "metric better 00000-first 00001-second 00002-third best",
        "fid lower 20 [19.5, 20.5] 10 [9.5, 10.5] 15 [14.5, 15.5] 00001-second",
        "kid lower 0.01 [0.009, 0.011] 0.01 [0.009, 0.011] 0.01 [0.009, 0.011] no significant difference",
    ]
    assert (
        "protocol: inception 66666666, 50,000 samples, 60,000 real images, data digits (train) dddddddd, truncation 1"
        in lines
    )
    assert any(
        line.startswith("note: another training seed alone changes values by a percent or two") for line in lines
    )


def test_protocols_that_differ_between_metrics_are_told_apart(run, make_run):
    for name in ("00000-first", "00001-second"):
        make_run(name, row(), row(metric="kid", num_samples=10000), row(metric="is"))
    lines = run("eval", "compare", "0", "1")[1].splitlines()
    assert [line[:38] for line in lines if "66666666" in line] == [
        "fid, is: inception 66666666, 50,000 sa",
        "kid: inception 66666666, 10,000 sample",
    ]


def test_a_metric_that_is_refused_is_named_below_the_others(run, make_run):
    make_run("00000-first", row(), row(metric="kid"))
    make_run("00001-second", row(num_samples=10000), row(metric="kid"))
    code, out, _ = run("eval", "compare", "0", "1")
    assert code == 0
    assert "not compared: fid: num_samples is 50000 for 00000-first, 10000 for 00001-second\n" in out
    assert "fid  " not in out


def test_unlike_protocols_are_an_error_of_one_line(run, make_run):
    make_run("00000-first", row())
    make_run("00001-second", row(num_samples=10000))
    for more in ((), ("--json",)):
        code, out, err = run("eval", "compare", "0", "1", *more)
        assert (code, out) == (2, "")
        assert err == (
            "error: evaluations are not comparable: fid: num_samples is 50000 for 00000-first, 10000 for 00001-second"
            " - evaluate with equal options: ganforge eval 0 1 --fid ...\n"
        )


def test_json_holds_protocols_values_intervals_and_verdicts(run, make_run):
    make_run("00000-first", row(20), row(metric="kid"), row(metric="is", splits=10))
    make_run("00001-second", row(10), row(metric="kid", reach=None), row(metric="is"))
    code, out, _ = run("eval", "compare", "0", "1", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["things"] == ["00000-first", "00001-second"]
    fid, kid = found["compared"]
    assert (fid["metric"], fid["better"], fid["protocol"]) == ("fid", "lower", PROTOCOL)
    assert fid["values"]["00001-second"]["value"] == 10
    assert fid["values"]["00001-second"]["interval"] == {"value": 10, "low": 9.5, "high": 10.5, "level": 0.95}
    assert (fid["best"], fid["tied"], fid["verdict"]) == ("00001-second", [], "00001-second")
    assert (kid["best"], kid["verdict"], kid["values"]["00001-second"]["interval"]) == (None, "", None)
    assert found["refused"] == [{"metric": "is", "differing": {"splits": {"00000-first": 10}}}]
    assert len(found["notes"]) == 1


def test_one_metric_can_be_asked_for(run, make_run):
    for name in ("00000-first", "00001-second"):
        make_run(name, row(), row(metric="kid"))
    assert "kid" not in run("eval", "compare", "0", "1", "--metric", "fid")[1]
    code, _, err = run("eval", "compare", "0", "1", "--metric", "fidd")
    assert (code, err) == (2, "error: --metric fidd: no evaluation has this metric - did you mean 'fid'?\n")


def test_a_run_that_went_on_must_be_evaluated_again(run, make_run):
    first = make_run("00000-first", row(1), row(metric="kid"), images=200_000)
    append_rows(first / FILE, [])
    rows = [
        dataclasses.replace(each, subject={**each.subject, "images_seen": 200_000}) for each in read_rows(first / FILE)
    ]
    (first / FILE).unlink()
    append_rows(first / FILE, rows)
    make_run("00000-first", row(2), images=300_000)
    make_run("00001-second", row(3), row(metric="kid"))
    code, out, _ = run("eval", "compare", "0", "1", "--json")
    assert code == 0
    found = json.loads(out)
    assert {label: each["value"] for label, each in found["compared"][0]["values"].items()} == {
        "00000-first": 2,
        "00001-second": 3,
    }
    assert found["notes"][:2] == [
        "not evaluated: kid for 00000-first",
        "00000-first: kid evaluated after 200,000 images; the current weights have seen 300,000; evaluate it again",
    ]


def test_raw_weights_are_compared_only_if_asked_for(run, make_run):
    for number, name in enumerate(("00000-first", "00001-second")):
        folder = make_run(name, row(20 + 5 * number))
        subject = {"weights": "raw", "name": str(folder)}
        older = row(1, subject={**subject, "digest": "0" * 64, "images_seen": 100_000})
        append_rows(folder / FILE, [older, row(50 - 5 * number, subject={**subject, "digest": "f" * 64})])
        (folder / "checkpoints").mkdir()
        save_tensors(folder / "checkpoints/000300000.safetensors", {"x": torch.ones(1)}, {"images": 300_000})
    table = run("eval", "compare", "0", "1")[1].splitlines()
    assert table[1].split()[2:] == ["20", "[19.5,", "20.5]", "25", "[24.5,", "25.5]", "00000-first"]
    table = run("eval", "compare", "0", "1", "--raw")[1].splitlines()
    assert table[1].split()[2:] == ["50", "[49.5,", "50.5]", "45", "[44.5,", "45.5]", "00001-second"]


def test_raw_weights_of_before_the_newest_checkpoint_are_stale(run, make_run):
    for name in ("00000-first", "00001-second"):
        folder = make_run(name)
        append_rows(folder / FILE, [row(subject={"weights": "raw", "name": str(folder), "images_seen": 100_000})])
    assert run("eval", "compare", "0", "1", "--raw")[0] == 0  # without a checkpoint, nothing else is known
    (folder / "checkpoints").mkdir()
    save_tensors(folder / "checkpoints/000300000.safetensors", {"x": torch.ones(1)}, {"images": 300_000})
    code, _, err = run("eval", "compare", "0", "1", "--raw")
    assert code == 2
    assert "00001-second: fid evaluated after 100,000 images; the current weights have seen 300,000" in err


def test_weights_that_were_never_evaluated_so_are_named(run, make_run):
    averaged, raw = make_run("00000-first", row()), make_run("00001-second")
    append_rows(raw / FILE, [row(subject={"weights": "raw", "name": str(raw)})])
    code, _, err = run("eval", "compare", averaged, raw)
    assert (code, err.count("\n")) == (2, 1)
    assert f"{raw}: only the trained weights (--raw) were evaluated - add --raw" in err
    code, _, err = run("eval", "compare", averaged, raw, "--raw")
    assert (code, err.count("\n")) == (2, 1)
    assert f"--raw: only the EMA weights of {averaged} were evaluated - ganforge eval" in err


def test_other_files_in_a_runs_folder_are_things_of_their_own(run, make_run):
    first = make_run("00000-first", row(20))
    best, script = first / "generator-best.safetensors", first / "generator.pt"
    save_tensors(best, {"weight": torch.zeros(1)}, {"kind": "generator", "images": 100_000})
    script.write_bytes(b"a script")
    card = read_card(best)
    of_script = {"kind": "torchscript", "name": str(script), "digest": hashlib.sha256(b"a script").hexdigest()}
    append_rows(
        first / FILE,
        [
            row(10, subject={"name": str(best), "digest": card["digest"]}),
            row(30, subject=of_script),
            row(5, metric="kid", subject={**of_script, "digest": "0" * 64}),
        ],
    )
    code, out, err = run("eval", "compare", "0", best, script, first / "generator.safetensors", "--json")
    assert code == 2
    assert "is named twice" in err
    code, out, err = run("eval", "compare", "0", best, script, "--json")
    assert code == 0, err
    (fid,) = json.loads(out)["compared"]
    assert {label: each["value"] for label, each in fid["values"].items()} == {
        "00000-first": 20,
        "generator-best.safetensors": 10,
        "generator.pt": 30,
    }
    assert (
        "generator.pt: kid evaluated with weights other than the current ones; evaluate it again"
        in json.loads(out)["notes"]
    )
    best.rename(first / "renamed.safetensors")
    code, out, _ = run("eval", "compare", "0", first / "renamed.safetensors", "--json")
    assert json.loads(out)["compared"][0]["values"]["renamed.safetensors"]["value"] == 10
    code, _, err = run("eval", "compare", "0", script, "--raw")
    assert code == 2
    assert "--raw: only the EMA weights of runs/00000-first were evaluated" in err


def test_images_and_files_of_evaluations_are_compared(run, here, make_run):
    make_run("00000-first", row(20))
    (here / "drawn").mkdir()
    images = {"kind": "images", "digest": "1" * 64}
    append_rows(
        here / FILE, [row(12, subject={**images, "name": "drawn"}), row(99, subject={**images, "name": "else"})]
    )
    (here / "theirs").mkdir()
    append_rows(here / "theirs" / FILE, [row(11, subject={"name": "x/theirs"})])
    for theirs in ("theirs", f"theirs/{FILE}"):
        code, out, err = run("eval", "compare", "0", "drawn", theirs, "--json")
        assert code == 0, err
        (fid,) = json.loads(out)["compared"]
        found = {label: each["value"] for label, each in fid["values"].items()}
        assert found == {"00000-first": 20, "drawn": 12, "theirs": 11}
    code, _, err = run("eval", "compare", "drawn", "theirs", "--raw")
    assert (code, err) == (2, "error: --raw: drawn is not a run - omit --raw\n")


def test_a_file_about_several_things_is_refused(run, here, make_run):
    make_run("00000-first", row(20))
    append_rows(here / FILE, [row(subject={"name": "one"}), row(subject={"name": "two", "digest": "2" * 64})])
    code, _, err = run("eval", "compare", "0", FILE)
    assert (code, err) == (2, f"error: {FILE}: holds evaluations of several things: one, two - name one of them\n")


def test_things_of_one_name_are_told_apart_by_their_paths(run, make_run):
    first, second = make_run("00000-same", row(20)), make_run("00000-same", row(10), under="others")
    code, out, _ = run("eval", "compare", first, second, "--json")
    assert code == 0
    assert json.loads(out)["things"] == [str(first), str(second)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["00000-first"], "error: 00000-first: nothing to compare with - name two or more"),
        ([], "Missing argument"),
        (["0", "00000-first"], "error: 00000-first: is named twice - name two or more"),
        (["0", "nothing"], "error: nothing: run not found, here or under runs/"),
        (["0", "nothing.safetensors"], "error: nothing.safetensors: no such file"),
        (["0", "runs"], "no metric was evaluated for all: 00000-first has fid, runs has none"),
        (["0", "1"], ": no generator yet"),
        (["0", "broken.jsonl"], "error: broken.jsonl, line 1: is no evaluation"),
    ],
)
def test_mistakes_are_one_line_and_code_2(run, here, make_run, arguments, message):
    make_run("00000-first", row())
    os.remove(make_run("00001-second") / "generator.safetensors")
    (here / "broken.jsonl").write_text("{}\n")
    code, out, err = run("eval", "compare", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_eval_compare_is_one_command_only_at_the_front():
    assert hoist(["eval", "compare", "a", "--debug", "b"]) == ["--debug", "eval compare", "a", "b"]
    assert hoist(["eval", "./compare", "--fid"]) == ["eval", "./compare", "--fid"]
    assert hoist(["eval", "--fid", "compare"]) == ["eval", "--fid", "compare"]
    assert hoist(["sample", "eval", "compare"]) == ["sample", "eval", "compare"]


def test_help_lists_and_explains_it(run):
    assert "eval compare" in run("--help")[1]
    code, out, _ = run("eval", "compare", "--help")
    assert code == 0
    assert "ganforge eval compare" in out
    assert [command.name for command in app.registered_commands].count("eval compare") == 1
