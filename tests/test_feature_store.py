import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from ganforge.contract.errors import GanforgeError
from ganforge.contract.extractor import Extractor
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.evaluation.features import extract
from ganforge.evaluation.features.store import PART, FeatureFolder, trim
from ganforge.evaluation.statistics import Moments, frechet_distance
from ganforge.evaluation.subjects.image_sets import DataImages

CPU = torch.device("cpu")
COUNT = 2 * PART + 300


class Toy(Extractor):
    """Products of pixels with random weights; counts the images that it is shown."""

    label = "toy"
    preprocessing = "none"

    def __init__(self, seed=0, logits=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(48, 5, generator=torch.Generator().manual_seed(seed)))
        self.logits = logits
        self.shown = 0

    def forward(self, images):
        self.shown += len(images)
        features = images.flatten(1).float() / 255 @ self.weight
        return features, features[:, :3].cos() if self.logits else None


class Interrupted(Toy):
    """Is stopped by the user after some images."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def forward(self, images):
        if self.shown >= self.after:
            raise KeyboardInterrupt
        return super().forward(images)


def pixels(count=COUNT, seed=1):
    return torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def packed(images):
    return pack([image.permute(1, 2, 0).numpy() for image in images], "toys", title="toys")


def image_set(count=COUNT, fingerprint="toys"):
    return DataImages(PackedData("toys", pixels(count), None, (), fingerprint), torch.arange(count))


def take(cache, images=None, extractor=None, **options):
    return extract(images or image_set(), extractor or Toy(), device=CPU, cache=cache, **options)


def only_folder(cache):
    (folder,) = cache.iterdir()
    return folder


def test_features_are_those_of_the_network_and_are_computed_once(tmp_path):
    first, again, images = Toy(), Toy(), image_set()
    found = take(tmp_path, images, first)
    with torch.no_grad():
        features, logits = Toy()(pixels())
    torch.testing.assert_close(found.features, features, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.logits, logits, rtol=1e-6, atol=1e-6)
    assert (len(found), found.features.dtype, first.shown) == (COUNT, torch.float32, COUNT)
    second = take(tmp_path, images, again)
    assert again.shown == 0
    assert torch.equal(second.features, found.features)
    assert torch.equal(second.logits, found.logits)
    assert take(tmp_path, images, Toy(logits=False), dtype="bfloat16").logits is None


def test_what_is_done_to_features_never_reaches_their_file(tmp_path):
    found = take(tmp_path)
    before = found.features.clone()
    found.features.zero_()
    assert torch.equal(take(tmp_path).features, before)


def test_features_that_were_let_go_of_are_read_again(tmp_path):
    found = take(tmp_path)
    before = found.features.clone(), found.logits.clone()
    found.release()
    assert torch.equal(found.features, before[0])
    assert torch.equal(found.logits, before[1])


def test_progress_counts_images_and_says_what_was_there(tmp_path):
    steps = []
    take(tmp_path, image_set(100), progress=lambda *step: steps.append(step))
    assert steps == [(0, 100), (64, 100), (100, 100)]
    take(tmp_path, image_set(100), progress=lambda *step: steps.append(step))
    assert len(steps) == 3


# Going on


@pytest.mark.parametrize(("after", "kept"), [(0, 0), (500, 0), (PART, 1), (PART + 700, 1), (2 * PART + 64, 2)])
def test_an_interrupted_extraction_goes_on_from_the_last_whole_part(tmp_path, after, kept):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        take(broken, extractor=Interrupted(after))
    rest, steps = Toy(), []
    found = take(broken, extractor=rest, progress=lambda *step: steps.append(step))
    assert rest.shown == COUNT - kept * PART
    assert steps[0] == (kept * PART, COUNT)
    expected = take(whole)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.logits, expected.logits)
    assert {each.name: each.read_bytes() for each in only_folder(broken).iterdir()} == {
        each.name: each.read_bytes() for each in only_folder(whole).iterdir()
    }
    reals = Moments.of(take(tmp_path / "reals", DataImages(packed(pixels(50, 2)), torch.arange(50))).features)
    distances = {frechet_distance(reals, Moments.of(each.features)) for each in (found, expected)}
    assert len(distances) == 1


def test_a_part_whose_digest_was_not_yet_written_is_computed_again(tmp_path, monkeypatch):
    write = FeatureFolder._write

    def torn(self, digests, widths):
        if len(digests) == 2:
            raise KeyboardInterrupt
        write(self, digests, widths)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureFolder, "_write", torn)
        with pytest.raises(KeyboardInterrupt):
            take(tmp_path / "broken")
    rest = Toy()
    found = take(tmp_path / "broken", extractor=rest)
    assert rest.shown == COUNT - PART
    assert torch.equal(found.features, take(tmp_path / "whole").features)


WORKER = """
import os, pathlib, signal, sys, time
sys.path.insert(0, sys.argv[1])
from test_feature_store import PART, Toy, take

class Doomed(Toy):
    def forward(self, images):
        if self.shown >= PART + 500:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

class Slow(Toy):
    def forward(self, images):
        print("at work", flush=True)
        time.sleep(0.03)
        return super().forward(images)

take(pathlib.Path(sys.argv[2]), extractor={"doomed": Doomed, "slow": Slow}[sys.argv[3]]())
"""


def start(cache, kind):
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(cache), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_process_that_is_killed_and_one_at_the_same_time_cost_no_part_twice(tmp_path):
    with start(tmp_path / "shared", "doomed") as doomed:
        assert doomed.wait() == -signal.SIGKILL
    late = Toy()
    with start(tmp_path / "shared", "slow") as slow:
        assert slow.stdout.readline() == "at work\n"
        found = take(tmp_path / "shared", extractor=late)  # waits for the other one
        lines = slow.stdout.read().splitlines()
        assert slow.wait() == 0
    assert late.shown == 0
    assert 1 + len(lines) == -(-(COUNT - PART) // 64)
    assert torch.equal(found.features, take(tmp_path / "whole").features)


def flip(folder):
    content = bytearray((folder / "features").read_bytes())
    content[PART * 5 * 4 + 17] ^= 1
    (folder / "features").write_bytes(content)


def cut(folder):
    os.truncate(folder / "logits", (2 * PART + 7) * 3 * 4)


def lengthen(folder):
    with (folder / "features").open("ab") as file:
        file.write(b"more")


def edit(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


DAMAGES = {
    "a flipped byte in the second part": (flip, 1),
    "logits that are cut off in the last part": (cut, 2),
    "more than was written": (lengthen, 2),
    "no features": (lambda folder: (folder / "features").unlink(), 0),
    "no logits": (lambda folder: (folder / "logits").unlink(), 0),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), 0),
    "an empty manifest": (lambda folder: (folder / "manifest.json").write_bytes(b""), 0),
    "garbage": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe{"), 0),
    "another kind of manifest": (lambda folder: (folder / "manifest.json").write_bytes(b"[1, 2]"), 0),
    "parts that are no list": (lambda folder: edit(folder, parts=5), 0),
    "parts that are no digests": (lambda folder: edit(folder, parts=[None, 3]), 0),
    "no widths": (lambda folder: edit(folder, widths={}), 0),
    "widths that are no numbers": (lambda folder: edit(folder, widths={"features": "5", "logits": 3.0}), 0),
    "widths of other files": (lambda folder: edit(folder, widths={"../../x": 3}), 0),
    "widths beyond all files": (lambda folder: edit(folder, widths={"features": 10**30, "logits": 3}), 0),
    "widths of another network": (lambda folder: edit(folder, widths={"features": 6, "logits": 3}), 0),
}


@pytest.mark.parametrize(("damage", "kept"), DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_computed_again(tmp_path, damage, kept):
    expected = [each.clone() for each in (take(tmp_path).features, take(tmp_path).logits)]
    damage(only_folder(tmp_path))
    again = Toy()
    found = take(tmp_path, extractor=again)
    assert again.shown == COUNT - kept * PART
    assert torch.equal(found.features, expected[0])
    assert torch.equal(found.logits, expected[1])
    last = Toy()
    take(tmp_path, extractor=last)
    assert last.shown == 0


def test_a_cache_that_cannot_be_written_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GanforgeError, match="cannot write") as caught:
        take(tmp_path / "file" / "cache")
    assert "\n" not in str(caught.value)


# Room


def kept_of(cache):
    return {Path(each).name for each in cache.iterdir()}


def test_what_was_not_used_for_longest_makes_room_and_the_last_one_stays(tmp_path):
    names, now = [], time.time()
    for age in range(4):
        folder = FeatureFolder(tmp_path, {"age": age})
        with folder.locked():
            folder.append(torch.zeros(10, 5), None)
        os.utime(folder.path / "manifest.json", (now - age, now - age))
        names.append(folder.path.name)
    trim(tmp_path, 4 * 200)
    assert kept_of(tmp_path) == set(names)
    FeatureFolder(tmp_path, {"age": 3}).open(10)  # so it was used just now
    trim(tmp_path, 2 * 200)
    assert kept_of(tmp_path) == {names[3], names[0]}
    trim(tmp_path, 1)
    assert kept_of(tmp_path) == {names[3]}


def test_a_folder_that_somebody_works_in_is_left_alone(tmp_path):
    old, new = FeatureFolder(tmp_path, {"age": 1}), FeatureFolder(tmp_path, {"age": 0})
    for folder in (old, new):
        with folder.locked():
            folder.append(torch.zeros(10, 5), None)
    os.utime(old.path / "manifest.json", (1, 1))
    with old.locked():
        trim(tmp_path, 1)
        assert kept_of(tmp_path) == {old.path.name, new.path.name}
    trim(tmp_path, 1)
    assert kept_of(tmp_path) == {new.path.name}


def test_a_folder_that_was_removed_while_it_was_waited_for_is_made_anew(tmp_path):
    folder, seen = FeatureFolder(tmp_path, {"a": 1}), []

    def wait():
        with FeatureFolder(tmp_path, {"a": 1}).locked():
            seen.append((folder.path / "lock").exists())

    with folder.locked():
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.2)
        (folder.path / "lock").unlink()
        folder.path.rmdir()
    waiting.join()
    assert seen == [True]
