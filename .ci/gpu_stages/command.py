"""Command line of the stages."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

STAGES = ("proof", "speed", "training", "evaluation", "rest")
ROOT = Path(__file__).parents[2]


def main(about: str, arguments: list[str]) -> int:
    """Run stages, or collect wheels; return the exit code."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*STAGES, "all", "wheels"])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", help="folder of the output")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --rehearse")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes; CUDA graphs have a stand-in on a CPU")
    parser.add_argument("--only", default="", help="items whose name contains this text")
    parser.add_argument("--python", default="3.12", help="version for which wheels are collected")
    given = parser.parse_args(arguments)
    if given.stage == "wheels":
        from wheels import collect

        return collect(given.python)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # torch then looks for a GPU without starting CUDA
    from wheels import unpack

    unpack()
    from items import Context, run_stage

    if given.rehearse:
        import torch._dynamo  # noqa: F401 - each item, a fork of this process, would import it for seconds

    context = Context(given.device, given.rehearse, given.out.resolve())
    context.out.mkdir(parents=True, exist_ok=True)
    stages = STAGES if given.stage == "all" else (given.stage,)
    failed = [name for stage in stages for name in run_stage(stage, import_module(stage).ITEMS, context, given.only)]
    print(f"failed: {', '.join(failed)}" if failed else "all items passed")
    sys.stdout.flush()
    return 1 if failed else 0
