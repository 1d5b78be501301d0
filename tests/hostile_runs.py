"""Uses hostile run directories, and checks that they do no harm: ``python tests/hostile_runs.py --folders 2000``.

Each folder of `hostile_folders` goes through every command that takes a run, in a child of its own. Files beside the
folder must be as before and not be opened; nothing is written elsewhere and no program started; the command ends within
its time, with 0, or with one printable line and exit code 2 or 3.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from forking import call_main, import_everything, map_forked, open_library, preload, run_child, run_forked
from hostile_folders import LIKE_DRAFTS, Forger

SMALL = (
    "--batch 8 --device cpu --engine eager --precision float32 --set training.layout=contiguous --images 32 "
    "--set training.threads=1 --set training.tick_images=16 --set training.checkpoint_images=16 "
    "--set training.samples=4 --set training.eval_samples=32"
)

TEMPLATES = {
    "pictures": f"train --arch cdcgan --data ../photos --resolution 16 {SMALL} --eval-every 16 --metrics fd "
    "--set generator.width=4 --set discriminator.width=4",
    "points": f"train --arch mlp --data ring-8 {SMALL}",
}
"""The runs that are made hostile."""

COMPLETION = {
    "pictures": ["eval --modes --samples 16", "sample --count 2", "explore walk --from-seeds 1,2 --steps 2"],
    "points": ["eval --modes --samples 16", "sample --count 2"],
}
"""Commands that run on them before, besides export and report."""

COMMANDS = {
    "report": "report RUN",
    "runs": "runs",
    "resume": "train --resume RUN --images 48",
    "sample": "sample RUN --count 2 --device cpu --to out/drawn",
    "eval": "eval RUN --modes --samples 16 --device cpu",
    "export": "export RUN --torchscript",
    "explore": "explore walk RUN --from-seeds 1,2 --steps 2 --device cpu",
}
"""Commands for hostile folders; RUN is the folder."""

SECONDS = 10
"""Of CPU time; what waits without computing has three times as long."""

MEMORY = 6 << 30
"""Bytes of address space that a command may take."""

OWN = (
    "/dev/null",
    "/dev/tty",
    "/proc/",
    "/sys/",
    "pipe:",
    "socket:",
    "anon_inode:",
    "/memfd:",
    "/dev/shm/",
    "/dev/urandom",
)
"""Paths that every command may open."""

CHANGES = {
    *(f"os.{name}" for name in ("rename", "remove", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown")),
    *("os.utime", "os.mkfifo", "os.mknod", "os.setxattr", "shutil.rmtree", "shutil.move"),
}
LISTS = ("os.listdir", "os.scandir")
STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.startfile", "pty.spawn")


def watch(place: Path, run: Path, report: Path) -> None:
    """Write down from now on what this process opens, changes and starts, for `judge`."""
    descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    busy = False

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if busy or event not in {*CHANGES, *LISTS, *STARTS}:
            return
        busy = True
        try:
            if event in STARTS:
                line = f"start {str(arguments[:2])[:200]}"
            else:
                line = "\n".join(
                    f"{'list' if event in LISTS else 'change'} {each}" for each in paths_of(event, arguments)
                )
            os.write(descriptor, (line + "\n").encode(errors="backslashreplace"))
        finally:
            busy = False

    sys.addaudithook(hear)
    open_library().trace_opens(descriptor)


def paths_of(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Paths of an audit event, without links and each on one line."""
    two = event in ("os.rename", "os.link", "shutil.move")
    if event == "os.symlink":  # its first argument is the target
        arguments = arguments[1:]
    folders = [each for each in arguments[1:] if isinstance(each, int)][-2 if two else -1 :]
    found = []
    for number, path in enumerate(arguments[: 2 if two else 1]):
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        path = os.fsdecode(path)
        if (
            event.startswith("os.")
            and not os.path.isabs(path)
            and event not in (*LISTS, "os.truncate")
            and len(folders) > number
        ):
            folder = folders[number]
            path = os.path.join(f"/proc/self/fd/{folder}" if folder >= 0 else os.getcwd(), path)
        parent, name = os.path.split(os.path.abspath(path))
        whole = os.path.realpath(path) if event in LISTS else os.path.join(os.path.realpath(parent), name)
        found.append(whole.replace("\n", "?"))
    return found


def judge(lines: list[str], place: Path, run: Path) -> list[str]:
    """Forbidden actions of a command."""
    root, own = str(place), str(run).replace("\n", "?")
    free = (
        own,
        f"{root}/out/",
        f"{root}/.out",
        f"{root}/.err",
        os.environ["GANFORGE_CACHE"],
        os.environ["TMPDIR"],
        *OWN,
    )
    found = []
    for line in lines:
        kind, _, path = line.partition(" ")
        if not path:  # of an open descriptor
            continue
        if kind == "start":
            if "'uname'" not in path:
                found.append(f"starts {path}")
        elif kind == "list" and path.endswith(LIKE_DRAFTS[1]):  # it must be looked into to be told from a draft
            continue
        elif path.startswith((f"{root}/canary", f"{root}/runs/.thesis", f"{root}/out/.thesis")):
            what = {"list": "lists", "change": "changes"}.get(kind, "")
            found.append(f"{what or ('writes' if int(kind) & 3 else 'reads')} {path[len(root) + 1 :]}")
        elif (kind == "change" or (kind != "list" and int(kind) & 3)) and not path.startswith(free):
            found.append(f"writes {path}")
    return found


def list_private(place: Path) -> dict[str, tuple[Any, ...]]:
    """All that lies beside the run, with what would show a change."""
    found = {}
    for top in ("canary", *(f"{folder}/{name}" for folder in ("runs", "out") for name in LIKE_DRAFTS)):
        for path in [place / top, *sorted((place / top).rglob("*"))]:
            if not os.path.lexists(path):
                continue
            known = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(place))] = (
                known.st_mode, known.st_uid, known.st_size, known.st_mtime_ns, known.st_ino, known.st_nlink, content,
            )  # fmt: skip
    return found


def find_unprintable(text: str) -> str:
    """The first line that holds what must not reach a terminal; empty if there is none."""
    for line in text.split("\n"):
        if not line.isprintable():
            return ascii(line)[:200]
    return ""


class Trial:
    """Gives hostile folders to commands.

    Args:
        root: A folder for everything.
        forger: Makes the folders.
        commands: Names in `COMMANDS`.
        kept: Whether folders with findings are kept.
    """

    def __init__(self, root: Path, forger: Forger, commands: list[str], kept: bool) -> None:
        self._root, self._forger, self._commands, self._kept = root, forger, commands, kept

    def try_folder(self, index: int) -> list[tuple[int, str, str, list[str], float]]:
        """All commands on one folder, made anew for each.

        Returns:
            For each command index, name, what is wrong (empty if nothing), what was done to the folder, and CPU time.
        """
        found = []
        for name in self._commands:
            place = self._root / f"{index:06d}-{name}"
            run, done = self._forger.forge(place, index)
            wrong, seconds = self._try_command(place, run, COMMANDS[name])
            found += [(index, name, each, done, seconds) for each in wrong or [""]]
            if not (wrong and self._kept):
                shutil.rmtree(place)
        return found

    def _try_command(self, place: Path, run: Path, command: str) -> tuple[list[str], float]:
        report = place / ".report"
        before = list_private(place)
        relative = str(run.relative_to(place))

        def act() -> int:
            watch(place, run, report)
            return call_main([relative if each == "RUN" else each for each in command.split()])

        done = run_child(act, place, 3 * SECONDS, MEMORY)
        lines = report.read_bytes().decode("utf-8", "backslashreplace").splitlines() if report.exists() else []
        wrong = sorted(set(judge(lines, place, run)))
        after = list_private(place)
        wrong += [f"changes {each}" for each in sorted(before.keys() | after) if before.get(each) != after.get(each)]
        if done.timed_out:
            wrong.append(f"hangs: no end after {3 * SECONDS} s, {done.cpu:.0f} s of CPU time")
        elif done.cpu > SECONDS:
            wrong.append(f"takes {done.cpu:.0f} s")
        elif failure := done.describe_failure():
            wrong.append(f"{failure}{find_frame(done.err)}")
        for stream, text in (("output", done.out), ("error", done.err)):
            if "Traceback" not in text and (line := find_unprintable(text)):
                wrong.append(f"unprintable {stream}: {line}")
        return wrong, done.cpu


def find_frame(err: str) -> str:
    """Where in ganforge a traceback began."""
    frames = re.findall(r'File ".*/(ganforge/[^"]+)", line (\d+), in (\S+)', err)
    return f" [{frames[-1][0]}:{frames[-1][1]} in {frames[-1][2]}]" if frames else ""


def name_cause(wrong: str) -> str:
    """Common part of the findings of one cause."""
    if place := re.search(r"\[ganforge/.*\]$", wrong):
        return f"{re.sub(r':.*', '', wrong.removeprefix('traceback: '))} {place[0]}"
    if " canary/" in wrong:
        wrong = re.sub(r"/\.[^/]*\.(tmp|ganforge-draft)(/.*)?$", "/(a draft)", wrong)
    return re.sub(r"\d+", "N", re.sub(r" /\S+/", " .../", wrong))[:120]


def make_templates(root: Path) -> list[Path]:
    """Train the runs that are made hostile, and let every command write into them."""
    from killer import draw_photos

    draw_photos(root / "photos")
    made = []
    for name, command in TEMPLATES.items():
        folder = root / name
        folder.mkdir()
        for each in [command, *COMPLETION[name], "report", "export --torchscript"]:
            done = run_child(lambda each=each: call_main(each.split()), folder, 120)
            if done.code:
                sys.exit(f"error: '{each}' fails: {done.err}")
        made.append(next(folder.glob("runs/0*")))
    return made


def main() -> int:
    """Try folders, and print findings by cause."""
    parser = argparse.ArgumentParser(description="Uses run folders of strangers.")
    parser.add_argument("--folders", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=1, help="of all folders")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="commands")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", action="store_true", help="keep folders with findings")
    arguments = parser.parse_args()
    preload()
    import_everything()
    import ganforge.export.subprocess_runner

    ganforge.export.subprocess_runner.subprocess = SimpleNamespace(run=run_forked)
    platform.processor()  # asks `uname` once
    root = Path(tempfile.mkdtemp(prefix="ganforge-hostile-")).resolve()
    (root / "tmp").mkdir()
    os.environ.update(GANFORGE_CACHE=str(root / "cache"), TMPDIR=str(root / "tmp"))
    tempfile.tempdir = None
    trial = Trial(root, Forger(make_templates(root), arguments.seed), arguments.only, arguments.keep)
    causes: dict[str, list[tuple[int, str, str, list[str]]]] = {}
    began, calls, longest = time.monotonic(), 0, 0.0
    numbers = list(range(arguments.first, arguments.first + arguments.folders))
    for results in map_forked(trial.try_folder, numbers, arguments.jobs):
        for index, name, wrong, done, seconds in results:
            calls += 1
            longest = max(longest, seconds)
            if wrong:
                causes.setdefault(name_cause(wrong), []).append((index, name, wrong, done))
                print(f"{index} {name}: {wrong[:300]} | {'; '.join(done)[:300]}", file=sys.stderr, flush=True)
    for cause, found in sorted(causes.items(), key=lambda each: -len(each[1])):
        print(f"\n{cause}\n  {len(found)} times, by {', '.join(sorted({each[1] for each in found}))}")
        for index, name, wrong, done in found[:3]:
            print(f"  folder {index}, {name}: {wrong[:300]}\n    {'; '.join(done)[:300]}")
    print(
        f"\n{arguments.folders} folders from seed {arguments.seed}, {calls} results, {len(causes)} causes; "
        f"{time.monotonic() - began:.0f} s, the longest command {longest:.1f} s of CPU time"
    )
    if causes:
        if arguments.keep:
            print(f"see {root}")
        else:
            shutil.rmtree(root)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
