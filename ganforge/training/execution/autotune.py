"""Autotuning: measure execution plans on copies of the networks and cache the fastest."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import fmean

import torch

from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.errors import GanforgeError, OptionError, PluginError
from ganforge.core.accelerator import backend_of, name_device, supports_bfloat16
from ganforge.core.atomic_files import read_text, write_bytes
from ganforge.core.cache import cache_folder
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.json_schema import decode
from ganforge.training.execution.cuda_graphs import make_stepper
from ganforge.training.execution.engine import Engine, EngineName, ExecutionPlan, Layout
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import TrainingState
from ganforge.training.steps import read_batch

SECONDS = 2.0  # approximate time limit of all measurements
SMALL_BATCH = 4  # smallest number of examples in a measured step
SMALL_STEP = 0.02  # seconds; a single CPU thread is also measured if a step is faster than this
BUSY_SECONDS = 0.2  # duration of each side of the check for a busy machine
WORTHWHILE = 1.1  # minimum speed-up for which a less simple plan is chosen
THREADS = torch.get_num_threads()  # number of CPU threads before a plan changes it

Trial = Callable[[ExecutionPlan, int], float]
"""Return the seconds that one step of a given batch size takes under a plan."""


def choose_plan(
    config: RunConfig,
    state: TrainingState,
    batches: Batches,
    device: torch.device,
    log: Callable[[str], None],
    workers: Workers = ALONE,
) -> RunConfig:
    """Choose the fastest execution plan: from the cache, else by measurement on copies of the networks.

    The main process measures for all. Fields of the plan that are set in the configuration stay.

    Raises:
        OptionError: CUDA graphs without CUDA, bfloat16 without support, or ``compile`` without a working compiler.
    """
    if config.training.engine == "graph" and not backend_of(device).graphs:
        raise OptionError("--engine graph: requires a CUDA device", "use auto, eager or compile")
    if config.training.engine == "compile":
        _check_compiler(device)
    if config.training.precision == "bfloat16" and not supports_bfloat16(device):
        raise OptionError(f"--precision bfloat16: {name_device(device)} does not support it", "use float32")

    def choose() -> bytes:
        threads = count_threads(config.training, device)
        plan, *others = plans = candidates(config.training, device, threads)
        cached = cache_folder() / "plans" / f"{_cache_key(config, device, workers.size, threads)}.json"
        found = _read_plan(cached) if others else plan
        if found is None:
            trial = _make_trial(config, state, batches, device, workers.size)
            fewer = config.training.threads is None and device.type == "cpu" and threads > 1
            batch = config.training.batch // workers.size
            found = measure(plans, trial, batch, log, fewer_threads=fewer, whole_batch=device.type != "cpu")
            try:
                write_bytes(cached, json.dumps(asdict(found)).encode())
            except GanforgeError as error:
                log(f"the execution plan is not cached: {error.message}")
        return json.dumps(asdict(found)).encode()

    settled = json.loads(workers.on_main(choose))
    return replace(config, training=replace(config.training, **settled))


def _check_compiler(device: torch.device) -> None:
    x = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: x.sin().cos().sum())(x).backward()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise OptionError(
            f"--engine compile: torch.compile does not work here: {reason}",
            "install a C++ compiler, or use auto, eager or graph",
        ) from error


def count_threads(training: TrainingConfig, device: torch.device) -> int:
    """Return the number of CPU threads for plans, unless the configuration has one: 1 on a busy machine."""
    is_open = device.type == "cpu" and training.threads is None and THREADS > 1
    return 1 if is_open and is_busy(THREADS) else THREADS


def candidates(training: TrainingConfig, device: torch.device, threads: int = THREADS) -> list[ExecutionPlan]:
    """Return the plans that a configuration allows, the simplest first; those of a CPU with this number of threads."""
    backend = backend_of(device)
    # Each microbatch has its own seed, which a CUDA graph cannot capture.
    quick: EngineName = "graph" if backend.graphs and training.accumulate == 1 else "eager"
    own = threads if device.type == "cpu" else None
    layout: Layout = "channels_last" if backend.channels_last else "contiguous"
    plans = [
        ExecutionPlan("eager", "float32", "contiguous", own),
        ExecutionPlan(quick, "float32", layout, own),
        *([ExecutionPlan(quick, "bfloat16", layout, own)] if supports_bfloat16(device) else []),
    ]
    given = {each.name: getattr(training, each.name) for each in fields(ExecutionPlan)}
    given = {name: value for name, value in given.items() if value not in ("auto", None)}
    return list(dict.fromkeys(replace(plan, **given) for plan in plans))


def measure(
    plans: list[ExecutionPlan],
    trial: Trial,
    batch: int,
    log: Callable[[str], None],
    *,
    fewer_threads: bool = False,
    whole_batch: bool = False,
) -> ExecutionPlan:
    """Return the fastest plan; a less simple one must be faster by the factor `WORTHWHILE`.

    `plans` starts with the simplest; later ones are measured earlier, since they are usually faster. Slow steps are
    measured on less than a batch, unless `whole_batch`: an accelerator prepares each new size for long. With
    `fewer_threads`, one thread is also tried if steps are fast.
    """
    size, seconds = (batch, trial(plans[0], batch)) if whole_batch else _choose_size(plans, trial, batch)
    begin = time.perf_counter()  # the first step on an accelerator takes seconds
    if fewer_threads and seconds < SMALL_STEP:
        alone = replace(plans[0], threads=1)
        needed = trial(alone, size)
        if needed * WORTHWHILE < seconds:
            plans, seconds = [replace(plan, threads=1) for plan in plans], needed
    times = {plans[0]: seconds}
    for plan in reversed(plans[1:]):
        if time.perf_counter() - begin > SECONDS:
            break
        try:
            times[plan] = trial(plan, size)
        except (RuntimeError, PluginError) as error:  # e.g. a view that only one memory format allows
            log(f"skipped plan {plan.describe()}: {str(error).strip().splitlines()[0]}")
    best = plans[0]
    for plan in plans:
        if plan in times and times[plan] * WORTHWHILE < times[best]:
            best = plan
    return best


def is_busy(threads: int) -> bool:
    """Return whether other programs leave too little of the CPU for threads, which wait for each other."""
    matrix, before, rates = torch.ones(256, 256), torch.get_num_threads(), []
    for count in (threads, 1):
        torch.set_num_threads(count)
        done, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < BUSY_SECONDS:
            torch.mm(matrix, matrix)
            done += 1
        rates.append(done / elapsed)
    torch.set_num_threads(before)
    return rates[0] < WORTHWHILE * rates[1]


def _choose_size(plans: list[ExecutionPlan], trial: Trial, batch: int) -> tuple[int, float]:
    """Return the largest affordable batch size, and the seconds that the simplest plan takes for it."""
    sizes = [batch]
    while sizes[0] % 2 == 0 and sizes[0] > SMALL_BATCH:
        sizes.insert(0, sizes[0] // 2)
    for size in sizes:
        try:
            seconds = trial(plans[0], size)
        except (GanforgeError, RuntimeError, ValueError):
            if size == batch:
                raise
            continue  # a packing discriminator needs whole packs
        if size == batch or 4 * seconds * len(plans) > SECONDS:
            break
    return size, seconds


def _make_trial(
    config: RunConfig, state: TrainingState, batches: Batches, device: torch.device, processes: int
) -> Trial:
    """Return a function that measures a process's share of a step on copies of the networks."""
    lazy = any(penalty.every > 1 for penalty in state.penalties)

    def trial(plan: ExecutionPlan, batch: int) -> float:
        players = copy.deepcopy(state)
        grown = [each.phases()[-1] for each in players.networks() if isinstance(each, Growing)]
        players.images = max([state.images, *grown])
        players.apply_schedules(config.optimizer)
        before = torch.get_num_threads()
        engine = Engine(replace(plan, accumulate=plan.accumulate // processes), device)
        for network in players.networks():
            engine.prepare(network)
        players.match_memory_format()
        take_step = make_stepper(engine)
        unready = 2 if plan.engine == "graph" else 1
        times: list[float] = []

        def step(index: int) -> float:
            shown = [read_batch(players, batches, engine, 0, batch) for _ in range(config.training.batches)]
            engine.finish()
            start = time.perf_counter()
            take_step(players, shown, index)
            engine.finish()
            return time.perf_counter() - start

        try:
            while len(times) <= unready or (sum(times[unready:]) < SECONDS / 10 and len(times) < 10):
                times.append(step(len(times) + 1))
                if device.type == "cpu" and times[0] > SECONDS:
                    break  # there the first step hardly takes longer than the second
            if lazy and plan != ExecutionPlan(threads=plan.threads):
                step(0)  # runs all lazy penalties, to detect failures
        finally:
            torch.set_num_threads(before)
        return fmean(times[unready:] or times)  # the fastest step of many threads is no measure on a busy machine

    return trial


def _cache_key(config: RunConfig, device: torch.device, processes: int, threads: int = THREADS) -> str:
    """Hash the configuration, machine and version of torch."""
    tree = config.tree()
    for setting in ("images", "minutes", "seed", "checkpoint_images", "keep_checkpoints", "keep_images", "init_from"):
        tree["training"].pop(setting)
    work = [tree, device.type, name_device(device), threads, torch.__version__, processes]
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]


def _read_plan(path: Path) -> ExecutionPlan | None:
    try:
        return decode(read_text(path), ExecutionPlan)
    except (OSError, ValueError):
        return None
