"""Kills training again and again, and proves that nothing is lost: ``python tests/killer.py --kills 100``.

Each run is killed by SIGKILL while it starts, packs, trains and writes, is resumed, and is killed again, until it comes
to its end; then its files are compared with those of an undisturbed run. Half of the kills come at a moment
drawn uniformly over a run's duration, half when a certain file appears.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder

COMMON = (
    "--batch 8 --device cpu --engine eager --precision float32 --set training.layout=contiguous "
    "--set training.threads=1 --set training.samples=16 --set training.tick_images=40 "
    "--set training.checkpoint_images=80 --set training.eval_samples=32 --eval-every 120 --metrics fd "
    "--augment ada:images=2000 --reg r1:every=4 --set generator.width=4 "
    "--set optimizer.generator_lr=cosine:5e-3:1e-4:800 --set discriminator.width=4"
)

GROWING = " ".join(
    f"--set {player}.{setting}"
    for player in ("generator", "discriminator")
    for setting in ("max_width=16", "stage_images=160", "fade_images=160")
)

CONFIGURATIONS = {
    "fixed": f"--arch dcgan {COMMON}",
    "growing": f"--arch pggan {GROWING} {COMMON}",
}
"""Scores, the best generator, augmentation that adapts, a lazy penalty and a schedule; and a fade beside them."""

DRAFTS = (
    *(f"{place}/.*.ganforge-draft" for place in ("cache/*", "cache/*/*", "runs/*", "runs/*/*")),
    *("runs/*/.tmp*", "cache/*/.tmp*"),
)
"""Where files that are being made lie."""

AIMS = {
    "packing": ("cache/data/.*.ganforge-draft", 1),
    "a draft in the cache": ("cache/*/.*.ganforge-draft", 3),
    "the run's folder": ("runs/*", 1),
    "the run's configuration": ("runs/*/config.json", 1),
    "a draft of weights": ("runs/*/.*.ganforge-draft", 8),
    "a draft of a checkpoint": ("runs/*/checkpoints/.*.ganforge-draft", 5),
    "a draft of a picture": ("runs/*/samples/.*.ganforge-draft", 8),
    "a checkpoint": ("runs/*/checkpoints/0*", 5),
    "a picture": ("runs/*/samples/0*", 8),
    "the best generator": ("runs/*/generator-best.safetensors", 1),
    "the animation": ("runs/*/training.gif", 1),
}
"""Moments of kills: patterns of a new file, and the largest number of such files to wait for."""

MOMENTS = ("starting", "packing", "before the first checkpoint", "while writing", "between")
"""Stages of a run in which it was killed."""

TIMES = ("seconds", "seconds_ticked", "images_per_second", "picture")
"""Differences that two equal runs may have."""


@dataclass(frozen=True)
class Place:
    """A folder for one run, with a cache of its own."""

    root: Path

    def folder(self) -> Path | None:
        """The run directory, if it can be resumed."""
        found = sorted(self.root.glob("runs/*/config.json"))
        return found[-1].parent if found else None

    def drafts(self) -> set[Path]:
        """Drafts of running and of killed processes."""
        return {path for pattern in DRAFTS for path in self.root.glob(pattern)}

    def state(self) -> dict[Path, int]:
        """All files of the run and when they were written."""
        return {path: path.stat().st_mtime_ns for path in self.root.glob("runs/**/*") if path.is_file()}


def start(place: Place, photos: Path, configuration: str, images: int) -> subprocess.Popen[bytes]:
    """Start a run, or resume it, as a user would."""
    command = [sys.executable, "-m", "ganforge", "train"]
    if place.folder():
        command += ["--resume"]
    else:
        command += [*CONFIGURATIONS[configuration].split(), "--data", str(photos), "--images", str(images)]
    environment = {**os.environ, "GANFORGE_CACHE": str(place.root / "cache"), "OMP_NUM_THREADS": "1"}
    with (place.root / "errors.txt").open("wb") as errors:
        return subprocess.Popen(
            command, cwd=place.root, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )


def finish(process: subprocess.Popen[bytes], place: Place) -> str:
    """Wait for the end of a run; what went wrong, or nothing."""
    code = process.wait()
    errors = (place.root / "errors.txt").read_text()
    done = code == 0 or (code == 2 and "has spent its budget" in errors)
    return "" if done else f"exit code {code}: {errors.strip().splitlines()[-1] if errors.strip() else 'no message'}"


def kill_at(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a process after so many seconds; False if it has ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return kill(process)
    return False


def kill_when(process: subprocess.Popen[bytes], place: Place, pattern: str, count: int, delay: float) -> bool:
    """Kill a process, a few moments after so many new files have appeared; False if it has ended before."""
    seen = before = set(place.root.glob(pattern))
    while process.poll() is None:
        seen = seen | set(place.root.glob(pattern))
        if len(seen - before) >= count:
            time.sleep(delay)
            return kill(process)
        time.sleep(0.0005)
    return False


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process; False if it has ended before."""
    process.kill()
    return process.wait() < 0


def name_moment(place: Place, drafts: set[Path], state: dict[Path, int]) -> str:
    """Stage in which a process was killed, from the files before it and now."""
    new = place.drafts() - drafts
    metrics = [path for path in place.state() if path.name == "metrics.jsonl"]
    if any(path.parent.name == "data" for path in new):
        return "packing"
    if new or any(not path.read_bytes().endswith(b"\n") for path in metrics):
        return "while writing"
    if place.state() == state:
        return "starting"
    return "between" if list(place.root.glob("runs/*/checkpoints/0*")) else "before the first checkpoint"


def compare(place: Place, whole: Place) -> list[str]:
    """Differences of a run from the undisturbed one, and leftovers of a killed process."""
    ours, theirs = place.folder(), whole.folder()
    if ours is None or theirs is None:
        return ["no run found"]
    left = [f"{path.relative_to(place.root)} is left over" for path in sorted(place.drafts())]
    return compare_folders(ours, theirs) + left


def compare_folders(ours: Path, theirs: Path) -> list[str]:
    """Differences of two run directories, apart from times, records of sessions, and older checkpoints."""
    files = [{str(path.relative_to(folder)) for path in list_files(folder)} for folder in (ours, theirs)]
    found = [
        f"{name} is {'not to be there' if name in files[0] else 'missing'}" for name in sorted(files[0] ^ files[1])
    ]
    for name in sorted(files[0] & files[1]):
        if name == "metrics.jsonl":
            same = read_rows(ours / name) == read_rows(theirs / name)
        elif name.startswith("checkpoints/"):
            same = are_equal(ours / name, theirs / name)
        else:
            same = (
                name in ("log.txt", "environment.jsonl") or (ours / name).read_bytes() == (theirs / name).read_bytes()
            )
        if not same:
            found.append(f"{name} differs")
    return found


def list_files(folder: Path) -> list[Path]:
    """All files of a run, but of checkpoints only the newest."""
    older = RunFolder(folder).checkpoint_paths()[:-1]
    return [path for path in folder.rglob("*") if path.is_file() and path not in older]


def read_rows(path: Path) -> list[dict[str, object]]:
    """Rows of metrics without times."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def are_equal(first: Path, second: Path) -> bool:
    """True if two checkpoints have equal tensors and cards, apart from times."""
    (ours, our_card), (theirs, their_card) = read_tensors(first), read_tensors(second)
    if ours.keys() != theirs.keys() or any(not torch.equal(ours[name], theirs[name]) for name in ours):
        return False
    cards = [{key: value for key, value in card.items() if key not in TIMES} for card in (our_card, their_card)]
    return cards[0] == cards[1]


def draw_photos(folder: Path) -> None:
    """A hundred and twenty pictures of noise, brighter in one class than in the other."""
    source = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for index in range(60):
            pixels = source.integers(80 * label, 176 + 80 * label, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def run_all(
    root: Path, configurations: list[str], kills: int, images: int, seed: int
) -> tuple[Counter[str], list[str]]:
    """Kill the given number of times.

    Returns:
        How often at which moment, and how many runs came to their end under ``runs``; and what went wrong.
    """
    photos, source = root / "photos", random.Random(seed)
    draw_photos(photos)
    counts, wrong = Counter[str](), []
    wholes, seconds = {}, {}
    for name in configurations:
        wholes[name] = Place(root / f"whole-{name}")
        wholes[name].root.mkdir()
        begun = time.perf_counter()
        failure = finish(start(wholes[name], photos, name, images), wholes[name])
        if failure:
            return counts, [f"{name}, undisturbed: {failure}"]
        seconds[name] = time.perf_counter() - begun
    while sum(counts[moment] for moment in MOMENTS) < kills:
        name = configurations[counts["runs"] % len(configurations)]
        place = Place(root / f"{counts['runs']:03d}-{name}")
        place.root.mkdir()
        killed = True
        while killed:
            drafts, state = place.drafts(), place.state()
            process = start(place, photos, name, images)
            if sum(counts[moment] for moment in MOMENTS) == kills:
                killed = False
            elif source.random() < 0.5:
                killed = kill_at(process, source.uniform(0, seconds[name]))
            else:
                pattern, most = AIMS[source.choice(sorted(AIMS))]
                killed = kill_when(process, place, pattern, source.randint(1, most), source.choice((0, 0.001, 0.01)))
            if killed:
                counts[name_moment(place, drafts, state)] += 1
        failure = finish(process, place)
        differences = [failure] if failure else compare(place, wholes[name])
        wrong += [f"{place.root.name}: {each}" for each in differences]
        counts["runs"] += 1
        if not differences:
            shutil.rmtree(place.root)
        print(f"{place.root.name}: {'; '.join(differences) or 'equal'}", flush=True)
    return counts, wrong


def main() -> int:
    """Kill runs, and print the results."""
    parser = argparse.ArgumentParser(description="Kills training again and again, and proves that nothing is lost.")
    parser.add_argument("--kills", type=int, default=100, help="how often")
    parser.add_argument("--images", type=int, default=800, help="length of a run")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the moments")
    parser.add_argument("--only", choices=sorted(CONFIGURATIONS), help="leave the other configuration out")
    arguments = parser.parse_args()
    configurations = [arguments.only] if arguments.only else sorted(CONFIGURATIONS)
    print(f"moments from seed {arguments.seed}", flush=True)
    root = Path(tempfile.mkdtemp(prefix="ganforge-killer-"))
    counts, wrong = run_all(root, configurations, arguments.kills, arguments.images, arguments.seed)
    print("\nkilled                        times")
    for moment in MOMENTS:
        print(f"{moment:30}{counts[moment]:5}")
    total = sum(counts[moment] for moment in MOMENTS)
    print(f"\n| {total} | {' | '.join(str(counts[moment]) for moment in MOMENTS)} | {counts['runs']} | {len(wrong)} |")
    if wrong:
        print("\n" + "\n".join(wrong) + f"\nsee {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
