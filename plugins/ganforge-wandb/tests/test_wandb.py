"""A run's numbers are in the files that wandb sends, and after a resume under the same id."""

import json
import math
import struct

import ganforge
import pytest
from ganforge.testing import check_logger
from wandb.proto import wandb_internal_pb2

from ganforge_wandb import ID, WeightsAndBiases

TINY = {"training.batch": 64, "training.tick_images": 64, "generator.hidden": (8,), "discriminator.hidden": (8,)}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))


BLOCK, HEADER = 32768, 7


def records(path):
    """Records of a file of wandb: a LevelDB log, cut at blocks of 32 KiB."""
    content, position, parts = path.read_bytes(), HEADER, []
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += HEADER
        parts.append(content[position : position + length])
        position += length
        if kind in (1, 4):  # a whole one, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            yield record
            parts = []


def sessions(run):
    """Sessions of a run: its id, its project, its configuration, and rows of history."""
    found = []
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        rows, about = [], None
        for record in records(path):
            if record.WhichOneof("record_type") == "run":
                config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                about = (record.run.run_id, record.run.project, config)
            elif record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
        found.append((*about, rows))
    return found


def train(out, **options):
    return ganforge.train(
        data="ring-8", arch="mlp", log=["wandb:mode=offline,project=rings"], device="cpu", out=out, quiet=True,
        settings={**TINY, "data.count": 500}, **options,
    )  # fmt: skip


def test_it_keeps_the_contract(tmp_path):
    check_logger(WeightsAndBiases, tmp_path, mode="offline")


def test_curves_grids_and_the_configuration_arrive_over_two_sessions(tmp_path):
    run = train(tmp_path, images=128)
    run.resume(images=192, quiet=True)
    first, second = sessions(run.path)
    assert first[:2] == second[:2] == ((run.path / ID).read_text().strip(), "rings")
    assert first[2]["generator"]["name"] == "mlp"
    rows = [row for row in first[3] + second[3] if "generator/loss" in row]
    assert [row["images"] for row in rows] == [64, 128, 192]
    expected = [row["generator/loss"] for row in run.rows]
    assert [row["generator/loss"] for row in rows] == pytest.approx(expected)
    grids = [row for row in first[3] + second[3] if row.get("samples/_type") == "image-file"]
    assert [row["images"] for row in grids] == [64, 128, 192]
    assert all(math.isfinite(row["diversity"]) for row in rows)


def test_without_a_login_training_goes_on(tmp_path, monkeypatch, capsys):
    import wandb

    def refused(**_):
        raise wandb.errors.UsageError("api_key not configured (no-tty). call wandb.login(key=[your_api_key])")

    monkeypatch.setattr(wandb, "init", refused)
    run = ganforge.train(data="ring-8", arch="mlp", log=["wandb"], device="cpu", out=tmp_path, images=64, settings=TINY)
    assert run.rows[-1]["images"] == 64
    assert "logger 'wandb' is disabled: UsageError: api_key not configured" in capsys.readouterr().err
