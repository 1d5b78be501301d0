"""The notebooks of the docs run as they stand, with less to compute, and are stored with their outputs."""

import re
from pathlib import Path

import pytest
from test_docs_run import in_small

FOLDER = Path(__file__).parent.parent / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
nbformat = pytest.importorskip("nbformat", reason='notebooks need pip install ".[dev]"')


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


FIRST = [
    pytest.param(path, id=path.stem, marks=[] if path.stem == "first-gan" else pytest.mark.exhaustive)
    for path in NOTEBOOKS
]
WITH_RUNS = pytest.param(True, marks=pytest.mark.exhaustive)


@pytest.mark.slow
@pytest.mark.parametrize("with_runs", [False, WITH_RUNS], ids=["fresh", "with runs"])
@pytest.mark.parametrize("path", FIRST)
def test_a_notebook_runs_in_a_fresh_folder_and_beside_other_runs(path, with_runs, tmp_path, run, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason='notebooks need pip install ".[dev]"')
    notebook, cells = read(path)
    monkeypatch.chdir(tmp_path)
    if with_runs:
        assert run("train", "--arch", "mlp", "--data", "ring-8", "--images", "64", "--set", "data.count=64")[0] == 0
    for cell in cells:
        cell.source = in_small(cell.source).replace('"avatars"', '"avatars", settings={"data.count": 64}')
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    written = [output for cell in cells for output in cell.outputs]
    assert not [output for output in written if output.output_type == "error"]
    assert "error: " not in str([output.get("text") for output in written])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_of_the_whole_notebook(path):
    _, cells = read(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert not re.search(r"/(home|root|tmp|work)/", path.read_text())
    assert path.stat().st_size < 600_000
