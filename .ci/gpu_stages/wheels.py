"""Wheels for a machine without a network: ganforge's own, and those of all that it and its tests import."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHEELS, SITE = ROOT / "build" / "wheels", ROOT / "build" / "site"
ROOTS = ("ganforge", "pytest", "pytest-xdist")
PRESENT = ("torch", "torchvision", "numpy")
MOST_BYTES = 64 << 20
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")


def collect(python: str) -> int:
    """Build ganforge's wheel, and download the others in the versions of this environment."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", WHEELS, ROOT], check=True)
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in sorted(needed())]
    platforms = [word for each in PLATFORMS for word in ("--platform", each)]
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms]
    subprocess.run([*pip, "download", "--no-deps", *target, "-d", WHEELS, *wanted], check=True)
    size = sum(each.stat().st_size for each in WHEELS.iterdir())
    print(f"{len(list(WHEELS.iterdir()))} wheels in {WHEELS.relative_to(ROOT)}, {size / 2**20:.1f} MiB")
    return int(size > MOST_BYTES)


def needed() -> set[str]:
    """Return the distributions that `ROOTS` require, without those that the machine has."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    queue = list(ROOTS)
    while queue:
        for line in importlib.metadata.requires(queue.pop()) or []:
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and requirement.name not in found | {*PRESENT, *ROOTS}:
                found.add(requirement.name)
                queue.append(requirement.name)
    return found | {*ROOTS} - {"ganforge"}


def unpack() -> None:
    """Unpack those wheels whose distributions are missing here, and import from there, in child processes too."""
    if not WHEELS.is_dir():
        return
    shutil.rmtree(SITE, ignore_errors=True)
    for wheel in sorted(WHEELS.glob("*.whl")):
        name = wheel.name.split("-")[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(SITE)
    if SITE.is_dir():
        sys.path.insert(0, str(SITE))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH", "")]))
