"""JSON and TOML are read strictly: types, finite numbers, 64-bit integers, depth, length."""

import json

import msgspec
import pytest

from ganforge.config.sources import read_config
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.core.json_schema import LONGEST_TOML, NonNegativeInt, decode, parse_json, parse_toml, to_json
from ganforge.evaluation.results.result import FILE, Evaluation, append_rows, read_rows
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import LONGEST_LINE, Row, read_lines, read_row


class Thing(msgspec.Struct):
    number: int
    share: float = 0.0
    count: NonNegativeInt = 0
    names: list[str] = []


@pytest.mark.parametrize(
    "text",
    [
        '{"number": NaN}',
        '{"number": -Infinity}',
        '{"number": 1' + "0" * 400 + "}",
        '{"number": 1' + "0" * 5000 + "}",
        '{"number": 9223372036854775808}',
        '{"share": 1e400}',
        '{"names": ["\\ud800"]}',
        '{"names": ["\\udc00 \\ud800"]}',
        '{"names": ["\ud800"]}',
        b'{"names": ["\xff"]}',
        "[" * 17 + "]" * 17,
        "[" * 200_000,
        '{"a":' * 200_000,
        "",
        "{} {}",
        '{"a": 1,}',
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_json_that_no_version_writes_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=".") as found:
        parse_json(text)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected object, got array"),
        ("{}", "object missing required field number"),
        ('{"number": true}', "number: expected int, got bool"),
        ('{"number": 1.5}', "number: expected int, got float"),
        ('{"number": "1"}', "number: expected int, got str"),
        ('{"number": 1, "count": -1}', "count: expected int >= 0"),
        ('{"number": 1, "names": ["a", 2]}', "names[1]: expected str, got int"),
        ('{"number": 99999999999999999999}', "number: an integer of more than 64 bits"),
    ],
)
def test_a_wrong_field_is_named(text, message):
    with pytest.raises(ValueError, match=".") as found:
        decode(text, Thing)
    assert str(found.value) == message


def test_what_fits_is_read_and_unknown_fields_are_free():
    thing = decode('{"number": -9223372036854775808, "share": 1, "names": ["\\ud83d\\ude00"], "more": [1e308]}', Thing)
    assert (thing.number, thing.share, thing.names) == (-(1 << 63), 1.0, ["\U0001f600"])


def test_what_is_written_can_be_read_whatever_the_numbers():
    value = {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}, "e": "x"}
    assert parse_json(to_json(value)) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "x"}


def test_rows_of_older_versions_with_nan_are_read_as_null():
    row = read_row('{"images": 5, "seconds": 1.5, "images_per_second": 3.0, "diversity": NaN, "picture": "a.png"}')
    assert (row.is_tick, row.numbers) == (True, {"images_per_second": 3.0, "diversity": None})
    assert row.tree() == {
        "images": 5, "seconds": 1.5, "images_per_second": 3.0, "diversity": None, "picture": "a.png"
    }  # fmt: skip
    with pytest.raises(ValueError, match="images: expected int, got null"):
        read_row('{"images": NaN}')


def test_a_row_too_long_is_a_problem_and_others_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"images": 1}\n{"images": 2, "x": "' + "y" * LONGEST_LINE + '"}\n{"images": 3}\n')
    problems = []
    assert [row.images for row in read_lines(path, read_row, problems)] == [1, 3]
    assert problems == [f"{path}, line 2, is damaged: it is longer than {LONGEST_LINE} characters"]


def make_evaluation(**changes):
    about = {"kind": "run", "name": "a", "digest": "0"}
    given = {"metric": "fid", "value": 1.5, "protocol": {}, "subject": about, "circumstances": {"data": "x"}}
    return Evaluation(**{**given, **changes})


def test_evaluations_that_are_not_finite_are_written_and_read_as_undefined(tmp_path):
    path = tmp_path / FILE
    append_rows(path, [make_evaluation(value=float("nan"), details={"d": float("inf")}), make_evaluation()])
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    first, second = read_rows(path)
    assert (first.value, first.details, second) == (None, {"d": None}, make_evaluation())
    older = json.dumps(make_evaluation(value=float("nan")).to_json())
    path.write_text(older + "\n")
    assert read_rows(path)[0].value is None


@pytest.mark.parametrize(
    "change",
    [{"value": "x"}, {"better": "sideways"}, {"notes": "x"}, {"notes": [1]}, {"details": 3}, {"interval": {"low": 1}},
     {"protocol": {"num_samples": "x"}}, {"subject": {"kind": "run"}}, {"metric": None},
     {"metric": "modes", "details": {"classes": [{"name": "a", "generated": "x", "data": 1}]}}],
)  # fmt: skip
def test_a_wrong_row_of_evaluations_is_refused(tmp_path, change):
    path = tmp_path / FILE
    path.write_text(json.dumps({**make_evaluation().to_json(), **change}) + "\n")
    with pytest.raises(CheckpointError, match=r"line 1: is no evaluation: .*(expected|invalid|missing)"):
        read_rows(path)


@pytest.mark.parametrize(
    "tree",
    [[], {"loss": "x"}, {"data": "x"}, {"training": "x"}, {"training": {"minutes": "5"}}, {"training": {"images": 1.5}},
     {"training": {"minutes": 0}}, {"recipe": 5}, {"data": {"source": 5}}, {"loggers": {"a": 1}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_wrong_configuration_of_a_run_is_refused(tmp_path, tree):
    (tmp_path / "config.json").write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read: .*expected"):
        RunFolder(tmp_path).read_config()


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 100_000) + " = 1",
        "[" + " . ".join(["a"] * 50_000) + "]",
        '"a b".' * 17 + "c = 1",
        "x = { " + ".".join(["a"] * 100_000) + " = 1 }",
        "x = " + "[" * 100_000,
        "x = " + "{ a = " * 30_000,
        '"\\"' * 60_000,
        "'" * 200_000,
        "a = 0x" + "f" * 200_000,
        "a = nan",
        "a = [1, -inf]",
        "#" * (LONGEST_TOML + 1),
    ],
    ids=lambda text: text[:12],
)
def test_toml_that_would_take_long_or_hold_anything_is_refused(tmp_path, text):
    path = tmp_path / "long.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"long\.toml: invalid TOML: ") as found:
        read_config(path)
    assert "\n" not in found.value.message
    assert len(found.value.message) < 400


def test_dots_in_strings_and_comments_of_toml_are_no_keys():
    dots = "a." * 40 + "a"
    text = f"x = \"{dots}\" # {dots} = 1\ny = '{dots}'\nz = '''\n{dots}\n'''\n"
    text += f'w = """\n{dots} \\" "" """\na.b.c = 1.5'
    assert parse_toml(text)["a"] == {"b": {"c": 1.5}}
    assert parse_toml(text)["x"] == dots


def test_a_row_keeps_its_order_of_scores():
    assert read_row('{"images": 1, "seconds": 2, "kid": 0.5, "fid": 3}').metric == "kid"
    assert Row(images=1).metric is None
