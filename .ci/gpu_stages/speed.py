"""Stage 2: speed of four plans, where their time goes, and variants of a blur."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from items import Context, Item, device_of, succeed
from torch import Tensor
from torch.nn.functional import conv2d
from torch.profiler import ProfilerActivity, profile

from ganforge.benchmark.timing import Timing, measure_cases, repeat
from ganforge.benchmark.training_setup import draw_noise, open_players
from ganforge.config.schema import resolve
from ganforge.core.accelerator import synchronize
from ganforge.data.pack import probe_spec
from ganforge.layers.resample import Blur
from ganforge.plugins.registry import Registry

PLANS = [
    ("eager", "float32", "contiguous"),
    ("eager", "bfloat16", "channels_last"),
    ("graph", "float32", "channels_last"),
    ("graph", "bfloat16", "channels_last"),
]
RECIPES = {"dcgan": (64, 128), "stylegan": (256, 32)}
SMALL = {"dcgan": (16, 8), "stylegan": (16, 8)}


def compare_plans(recipe: str, context: Context) -> None:
    """Compare four plans of a recipe, in turns."""
    device = device_of(context)
    resolution, batch = context.pick(RECIPES, SMALL)[recipe]
    narrow = [word for player in ("generator", "discriminator") for word in ("--set", f"{player}.width=8")]
    narrow += [word for player in ("generator", "discriminator") for word in ("--set", f"{player}.max_width=8")]
    variants = [
        word
        for engine, precision, layout in PLANS
        for word in (
            "--compare",
            f"training.engine={engine},training.precision={precision},training.layout={layout}",
        )
    ]
    succeed(
        "bench", "--arch", recipe, "--resolution", resolution, "--batch", batch, "--device", device,
        "--seconds", context.pick(2, 0.05), *variants, *(narrow if context.rehearse else []),
    )  # fmt: skip


def profile_steps(recipe: str, context: Context) -> None:
    """Print the operations of an eager step and of a replayed one."""
    device, registry = device_of(context), Registry.installed()
    resolution, batch = context.pick(RECIPES, SMALL)[recipe]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    for engine in ("eager", "graph"):
        plan = {"engine": engine, "precision": "bfloat16", "layout": "channels_last", "batch": batch}
        tree: dict[str, Any] = {"recipe": recipe, "data": {"resolution": resolution}, "training": plan}
        if context.rehearse:
            tree |= {player: {"width": 8, "max_width": 8} for player in ("generator", "discriminator")}
        config = resolve(registry, tree)
        players = open_players(config, registry, draw_noise(probe_spec(config.data, registry), batch), device, print)
        for index in range(1, 4):
            players.take_step(players.state, players.read(), index)
        shown = players.read()
        players.engine.finish()
        with profile(activities=activities) as found:
            players.take_step(players.state, shown, 5)
            players.engine.finish()
        order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
        print(f"{recipe}, {resolution} pixels, batch {batch}, {engine}")
        print(found.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=60))


def blur_by_group(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur each channel as a group."""
    return conv2d(x, kernel.expand(x.shape[1], 1, 3, 3), groups=x.shape[1], padding=1)


def blur_folded(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur with the channels as examples."""
    return conv2d(x.reshape(-1, 1, *x.shape[2:]), kernel.expand(1, 1, 3, 3), padding=1).view(x.shape)


def blur_by_sums(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur by sums of shifted maps."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    x = torch.cat([x[:, :, :, :1], x, x[:, :, :, -1:]], dim=3)
    x = (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4
    return (x[:, :, :, :-2] + 2 * x[:, :, :, 1:-1] + x[:, :, :, 2:]) / 4


def differentiate(blur: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Compute first and second gradients."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(blur(x).square().sum(), x, create_graph=True)
    torch.autograd.grad(gradient.square().sum(), x)


def compare_blurs(context: Context) -> None:
    """Time variants of a blur with its first and second gradients."""
    device = device_of(context)
    kernel = torch.outer(*[torch.tensor([0.25, 0.5, 0.25], device=device)] * 2)
    layer = Blur().to(device)
    for shape in context.pick([(32, 64, 256, 256), (32, 256, 64, 64)], [(2, 4, 8, 8)]):
        for dtype in (torch.float32, torch.bfloat16):
            for layout in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(shape, device=device).to(dtype).contiguous(memory_format=layout)
                variants: dict[str, Callable[[Tensor], Tensor]] = {
                    "layer": layer,
                    "groups": partial(blur_by_group, kernel=kernel.to(dtype)),
                    "folded": partial(blur_folded, kernel=kernel.to(dtype)),
                    "sums": partial(blur_by_sums, kernel=kernel.to(dtype)),
                }
                cases = {name: repeat(partial(differentiate, each, x)) for name, each in variants.items()}
                measured = measure_cases(cases, context.pick(0.3, 0.01), lambda: synchronize(device))
                times = {name: f"{Timing.of(each).median * 1e3:.3f} ms" for name, each in measured.items()}
                print(shape, dtype, layout, times, flush=True)


ITEMS = [
    Item("plans of dcgan", 120, partial(compare_plans, "dcgan")),
    Item("plans of stylegan", 180, partial(compare_plans, "stylegan")),
    Item("profile of dcgan", 60, partial(profile_steps, "dcgan")),
    Item("profile of stylegan", 90, partial(profile_steps, "stylegan")),
    Item("blurs", 100, compare_blurs),
]
