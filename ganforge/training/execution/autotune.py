"""Which plan suits a run on this machine: measured on copies of its networks, and remembered."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from ganforge.config.schema import RunConfig, TrainingConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.errors import GanforgeError, OptionError, PluginError
from ganforge.core.atomic_files import read_text, write_bytes
from ganforge.core.cache import cache_folder
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.json_schema import decode
from ganforge.training.execution.cuda_graphs import make_stepper
from ganforge.training.execution.engine import Engine, EngineName, ExecutionPlan, name_device
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import TrainingState
from ganforge.training.steps import read_batch

SECONDS = 2.0
"""Spent on measuring, about."""

SMALL_BATCH = 4
"""Examples of a step that is measured, at least; as many more as there is time for."""

SMALL_STEP = 0.02
"""Seconds; steps that are quicker may be quicker still on one thread."""

WORTHWHILE = 1.1
"""How much quicker a plan must be than a simpler one."""

THREADS = torch.get_num_threads()
"""Of the CPU, before a plan sets them."""

Trial = Callable[[ExecutionPlan, int], float]
"""Gives the seconds of a step by a plan, of so many examples."""


def settle_plan(
    config: RunConfig,
    state: TrainingState,
    batches: Batches,
    device: torch.device,
    say: Callable[[str], None],
    workers: Workers = ALONE,
) -> RunConfig:
    """Settle how a run's steps are computed: by the quickest of the plans left open, or by what was quickest before.

    Args:
        config: What is not said in `TrainingConfig.engine`, `precision`, `layout` and `threads` is measured.
        state: The players; copies of them are trained for that.
        batches: Real examples.
        device: Where the players are.
        say: Told in one line of a plan by which they cannot run.
        workers: The processes that train together; the leading one measures what each of them will do.

    Returns:
        The configuration with all of that said, the same in all processes.

    Raises:
        OptionError: CUDA graphs without CUDA, or compiled networks without a compiler.
    """
    if config.training.engine == "graph" and device.type != "cuda":
        raise OptionError(
            "--engine graph: it records CUDA graphs, and this runs on the CPU", "use auto, eager or compile"
        )
    if config.training.engine == "compile":
        check_compiler(device)
    plans = candidates(config.training, device)
    plan = (
        plans[0]
        if len(plans) == 1 or not workers.is_main
        else choose(plans, config, state, batches, device, say, workers)
    )
    settled = json.loads(workers.broadcast_bytes(json.dumps(asdict(plan)).encode()))
    return replace(config, training=replace(config.training, **settled))


def choose(
    plans: list[ExecutionPlan],
    config: RunConfig,
    state: TrainingState,
    batches: Batches,
    device: torch.device,
    say: Callable[[str], None],
    workers: Workers,
) -> ExecutionPlan:
    """The quickest of some plans, measured now or before; see `settle_plan` for the rest."""
    memory = cache_folder() / "plans" / f"{describe_work(config, device, workers.size)}.json"
    plan = recall(memory)
    if plan is None:
        trial = make_trial(config, state, batches, device, workers.size)
        fewer = config.training.threads is None and device.type == "cpu"
        plan = measure(plans, trial, config.training.batch // workers.size, say, fewer_threads=fewer)
        try:
            write_bytes(memory, json.dumps(asdict(plan)).encode())
        except GanforgeError as error:
            say(f"how steps are computed is not remembered: {error.message}")
    return plan


def check_compiler(device: torch.device) -> None:
    """See that torch can compile something small, gradients included.

    Raises:
        OptionError: It cannot.
    """
    x = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: x.sin().cos().sum())(x).backward()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise OptionError(
            f"--engine compile: torch.compile does not work here: {reason}",
            "install a C++ compiler, or use auto, eager or graph",
        ) from error


def candidates(training: TrainingConfig, device: torch.device) -> list[ExecutionPlan]:
    """The plans that a configuration leaves open, the simplest first."""
    if device.type == "cuda":
        # Parts of a batch, whichever process computes them, draw from seeds of their own, which no recording can.
        quick: EngineName = "graph" if training.accumulate == 1 else "eager"
        plans = [
            ExecutionPlan(),
            ExecutionPlan(quick, "float32", "channels_last"),
            ExecutionPlan(quick, "bfloat16", "channels_last"),
        ]
    else:
        plans = [
            ExecutionPlan("eager", "float32", "contiguous", THREADS),
            ExecutionPlan("eager", "float32", "channels_last", THREADS),
            ExecutionPlan("eager", "bfloat16", "channels_last", THREADS),
        ]
    said = {each.name: getattr(training, each.name) for each in fields(ExecutionPlan)}
    said = {name: value for name, value in said.items() if value not in ("auto", None)}
    return list(dict.fromkeys(replace(plan, **said) for plan in plans))


def measure(
    plans: list[ExecutionPlan], trial: Trial, batch: int, say: Callable[[str], None], *, fewer_threads: bool
) -> ExecutionPlan:
    """The quickest plan, where one that is less simple must be worth it.

    Args:
        plans: The simplest first. Those farther behind are tried earlier, since they promise more.
        trial: What times a step.
        batch: Examples of the run's steps; fewer are measured if these take long.
        say: Told in one line of a plan by which the networks cannot run.
        fewer_threads: Whether one thread may be tried too, where steps are quick.
    """
    begin = time.perf_counter()
    size, seconds = _choose_size(plans, trial, batch)
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
        except (RuntimeError, PluginError) as error:  # such as a view of maps that only one layout allows
            say(f"not computed as {plan.describe()}: {str(error).strip().splitlines()[0]}")
    best = plans[0]
    for plan in plans:
        if plan in times and times[plan] * WORTHWHILE < times[best]:
            best = plan
    return best


def _choose_size(plans: list[ExecutionPlan], trial: Trial, batch: int) -> tuple[int, float]:
    """How many examples can be afforded to all plans, and the seconds that the simplest one takes for them."""
    sizes = [batch]
    while sizes[0] % 2 == 0 and sizes[0] > SMALL_BATCH:
        sizes.insert(0, sizes[0] // 2)
    for size in sizes:
        try:
            seconds = trial(plans[0], size)
        except (GanforgeError, RuntimeError, ValueError):
            if size == batch:
                raise
            continue  # a discriminator of packs wants whole ones
        if size == batch or 4 * seconds * len(plans) > SECONDS:
            break
    return size, seconds


def make_trial(
    config: RunConfig, state: TrainingState, batches: Batches, device: torch.device, processes: int = 1
) -> Trial:
    """What times steps of a run on copies of its players; see `settle_plan` for the arguments.

    Of several processes, one is timed with its share.
    """
    lazy = any(penalty.every > 1 for penalty in state.penalties)

    def trial(plan: ExecutionPlan, batch: int) -> float:
        players = copy.deepcopy(state)
        grown = [each.phases()[-1] for each in players.networks() if isinstance(each, Growing)]
        players.images = max([state.images, *grown])
        players.follow_schedules(config.optimizer)
        before = torch.get_num_threads()
        engine = Engine(replace(plan, accumulate=plan.accumulate // processes), device)
        for network in players.networks():
            engine.place(network)
        players.match_layouts()
        take_step = make_stepper(engine)
        unready = 2 if plan.engine == "graph" else 1
        times: list[float] = []

        def step(index: int) -> float:
            shown = [read_batch(players, batches, engine, 0, batch) for _ in range(config.training.d_steps)]
            engine.finish()
            start = time.perf_counter()
            take_step(players, shown, index)
            engine.finish()
            return time.perf_counter() - start

        try:
            while len(times) <= unready or (sum(times) < SECONDS / 10 and len(times) < 10):
                times.append(step(len(times) + 1))
            if lazy and plan != ExecutionPlan(threads=plan.threads):
                step(0)  # all lazy penalties run, only to see that they can
        finally:
            torch.set_num_threads(before)
        return min(times[unready:])

    return trial


def describe_work(config: RunConfig, device: torch.device, processes: int = 1) -> str:
    """A name for what is measured: the same parts and settings, on the same machine, with the same torch."""
    tree = config.tree()
    for setting in ("images", "minutes", "seed", "checkpoint_images", "keep_checkpoints", "keep_images", "init_from"):
        tree["training"].pop(setting)
    work = [tree, name_device(device), THREADS, torch.__version__, processes]
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:16]


def recall(memory: Path) -> ExecutionPlan | None:
    """A plan that was settled before; None if there is none that can be read."""
    try:
        return decode(read_text(memory), ExecutionPlan)
    except (OSError, ValueError):
        return None
