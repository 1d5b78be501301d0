"""Batches follow from the seed and the place alone, wherever examples lie, and never fill the memory."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from ganforge.contract.errors import DataError
from ganforge.data.npy import RowFile
from ganforge.data.store import PackedData
from ganforge.training.loading import prefetch
from ganforge.training.loading.prefetch import DirectFeeder, PrefetchingFeeder, ResidentFeeder, open_feeder
from ganforge.training.loading.sampler import Batches

CPU = torch.device("cpu")
FEEDERS = [DirectFeeder, PrefetchingFeeder, ResidentFeeder]


def pixels(count=20):
    values = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 4), np.uint8)
    return PackedData("dots", torch.from_numpy(values), torch.arange(count) % 2, ("even", "odd"), "x")


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.store.MAPPED_BYTES", 0)
    pixels().save(tmp_path / "dots")
    data = PackedData.load(tmp_path / "dots")
    assert data.file is not None
    return data


def test_the_order_is_the_documented_one():
    def expected(number, seed, size):
        epoch, place = divmod(number, size)
        digest = hashlib.sha256(f"{seed}/epoch/{epoch}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") // 2)
        return torch.randperm(size, generator=source)[place].item()

    batches = Batches(pixels(), 5, CPU)
    for start, count in [(0, 6), (6, 6), (12, 6), (18, 6), (17, 50), (3, 4), (400, 3)]:  # forth, across epochs, back
        wanted = [expected(number, 5, 20) for number in range(start, start + count)]
        assert batches.indices(start, count).tolist() == wanted
        examples, labels = batches.read(start, count)
        assert torch.equal(examples, pixels().examples[wanted].float() / 127.5 - 1)
        assert labels.tolist() == [number % 2 for number in wanted]


def test_the_first_indices_are_pinned():
    assert Batches(pixels(), 5, CPU).indices(16, 8).tolist() == [14, 13, 0, 3, 19, 1, 7, 16]


@pytest.mark.parametrize("feeder", FEEDERS)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_every_feeder_gives_what_was_asked_for(feeder, where, request):
    data = pixels() if where == "memory" else request.getfixturevalue("on_disk")
    feed = feeder(data, CPU)
    asked = [torch.tensor(each) for each in ([3, 3, 19], [0], [7, 1, 2], [5, 6], [7, 1, 2])]
    prepared = [asked[1], asked[2], asked[0], asked[4], asked[0]]  # the second waits through a fetch, some are wrong
    for indices, upcoming in zip(asked, prepared, strict=True):
        examples, labels = feed.fetch(indices)
        assert torch.equal(examples, pixels().examples[indices])
        assert torch.equal(labels, indices % 2)
        feed.prepare(upcoming)


def test_vectors_without_labels_are_fed_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.store.MAPPED_BYTES", 0)
    vectors = torch.arange(12.0).view(6, 2)
    PackedData("points", vectors, None, (), "x").save(tmp_path / "points")
    for feeder in FEEDERS:
        examples, labels = feeder(PackedData.load(tmp_path / "points"), CPU).fetch(torch.tensor([5, 0]))
        assert examples.tolist() == [[10, 11], [0, 1]]
        assert labels is None


def test_what_was_prepared_is_gathered_on_a_thread_and_only_once(monkeypatch):
    threads = []
    gather = PackedData.gather

    def watched(data, indices, into):
        threads.append(threading.current_thread())
        gather(data, indices, into)

    monkeypatch.setattr(PackedData, "gather", watched)
    feed = PrefetchingFeeder(pixels(), CPU)
    feed.prepare(torch.tensor([1, 2]))
    feed.fetch(torch.tensor([4]))  # another one, such as the labeled, does not disturb it
    examples, _ = feed.fetch(torch.tensor([1, 2]))
    assert torch.equal(examples, pixels().examples[1:3])
    assert sorted(thread is threading.main_thread() for thread in threads) == [False, True]
    assert all(thread.daemon for thread in threads if thread is not threading.main_thread())


def test_a_disk_that_fails_meanwhile_is_told_at_the_next_read(on_disk, monkeypatch):
    feed = PrefetchingFeeder(on_disk, CPU)

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "preadv", fail)
        feed.prepare(torch.tensor([1, 2]))
        with pytest.raises(DataError, match="examples.npy cannot be read: Input/output error"):
            feed.fetch(torch.tensor([1, 2]))
    assert torch.equal(feed.fetch(torch.tensor([1, 2]))[0], pixels().examples[1:3])


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
    (tmp_path / "rows").write_bytes(bytes(range(10)))
    into = np.zeros((2, 4), np.uint8)
    RowFile(tmp_path / "rows", 2, 4).read([1, 0], into)
    assert into.tolist() == [[6, 7, 8, 9], [2, 3, 4, 5]]
    with pytest.raises(DataError, match="rows ends before example 2"):
        RowFile(tmp_path / "rows", 2, 4).read([2], into[:1])


@pytest.mark.parametrize(("free", "expected"), [(2400, ResidentFeeder), (2399, PrefetchingFeeder)])
def test_a_gpu_holds_what_fits_its_share(free, expected, monkeypatch):
    chosen = []
    for feeder in FEEDERS:
        monkeypatch.setattr(feeder, "__init__", lambda self, data, device: chosen.append(type(self)))
    monkeypatch.setattr(prefetch, "free_device_memory", lambda device: free)
    open_feeder(pixels(), torch.device("cuda"))  # 960 bytes
    open_feeder(pixels(), CPU)
    assert chosen == [expected, DirectFeeder]


LARGE = 20 << 30
READ = """
import sys, torch
from pathlib import Path
from ganforge.data.store import PackedData
from ganforge.training.loading import prefetch
from ganforge.training.loading.prefetch import DirectFeeder, PrefetchingFeeder
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
before = peak()
data = PackedData.load(Path(sys.argv[1]))
feeders = [each(data, torch.device("cpu")) for each in (DirectFeeder, PrefetchingFeeder)]
order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
for number, indices in enumerate(order[: 20 * 64].split(64)):
    feeders[number % 2].prepare(indices)
    examples, _ = feeders[number % 2].fetch(indices)
    assert not examples.any()
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the peak of memory")
@pytest.mark.slow
def test_examples_larger_than_memory_do_not_fill_it(tmp_path):
    shape = (LARGE // (3 * 512 * 512), 3, 512, 512)
    with (tmp_path / "examples.npy").open("wb") as file:  # sparse: it takes no room on the disk
        np.lib.format.write_array_header_2_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + LARGE // (3 * 512 * 512) * 3 * 512 * 512)
    manifest = {"format": "ganforge-data-1", "name": "large", "shape": shape, "dtype": "uint8", "class_names": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "x", "origin": {}}))
    done = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 512 << 20  # of 1 GB that is read
