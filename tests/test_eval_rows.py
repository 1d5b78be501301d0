import json

import pytest

from ganforge.contract.errors import CheckpointError, GanforgeError
from ganforge.evaluation.results.result import FILE, Evaluation, append_rows, read_rows
from ganforge.evaluation.statistics import Interval


def row(value=1.5, **changes):
    return Evaluation(
        metric="fid",
        value=value,
        protocol={"split": "all"},
        subject={"kind": "images", "name": "Käfer", "digest": "0" * 64},
        circumstances={"data": "Käfer", "seed": 1},
        **changes,
    )


def test_rows_are_read_as_they_were_written_and_a_torn_last_line_makes_room(tmp_path):
    path = tmp_path / FILE
    assert read_rows(path) == []
    first = row(interval=Interval(value=1.5, low=1.0, high=2.0, level=0.95), better="lower", notes=("a", "b"))
    append_rows(path, [first, row(value=None)])
    assert read_rows(path) == [first, row(value=None)]
    whole = path.read_bytes()
    for torn in (whole[:-1], whole[:-30], whole + b'{"metric": "f', whole + b"\xc3"):
        path.write_bytes(torn)
        kept = [first, row(value=None)][: torn.count(b"\n")]
        append_rows(path, [row(value=3.0)])
        assert read_rows(path) == [*kept, row(value=3.0)]
    for content in (whole[:20], b""):
        path.write_bytes(content)
        assert read_rows(path) == []
        append_rows(path, [first])
        assert read_rows(path) == [first]


@pytest.mark.parametrize(
    "line", ["no json", "[1]", "3", '{"metric": "fid"}', json.dumps(row().to_json() | {"interval": 3})]
)
def test_a_line_that_is_no_row_is_named(tmp_path, line):
    path = tmp_path / FILE
    append_rows(path, [row()])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CheckpointError, match=rf"{FILE}, line 2: is no evaluation") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def test_rows_that_cannot_be_written_or_read_are_an_error_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GanforgeError, match="cannot write"):
        append_rows(tmp_path / "file" / FILE, [row()])
    (tmp_path / FILE).mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_rows(tmp_path / FILE)
