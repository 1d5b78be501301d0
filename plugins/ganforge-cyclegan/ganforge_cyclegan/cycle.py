"""The objective beyond one adversary: the other direction, cycles, and identity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from ganforge import DataSpec, Discriminator, Generator, Regularizer, Step
from torch import Tensor
from torch.nn.functional import l1_loss


class Cycle(Regularizer):
    """Adversarial loss of the direction back, and cycle consistency of both (Zhu 2017, equations 1 to 3).

    The recipe has two further networks: the generator ``back``, from examples to sources, and the discriminator
    ``judge`` of sources. The losses are least squares, as in the paper.

    Args:
        data: Examples and sources.
        cycle: Weight of |F(G(s)) - s| + |G(F(x)) - x|.
        identity: Weight of |G(x) - x| + |F(s) - s|, relative to `cycle`; for equal channels only. It keeps colors.
        pool: Number of earlier generated sources from which the discriminator gets half of its examples.
    """

    unaveraged_buffers = ("pool",)

    def __init__(self, data: DataSpec, *, cycle: float = 10.0, identity: float = 0.0, pool: int = 50) -> None:
        super().__init__()
        if not data.source_shape:
            raise ValueError("needs sources: add --set data.sources=FOLDER")
        if identity and data.shape != data.source_shape:
            raise ValueError(f"identity={identity} needs images of one shape, not {data.shape} and {data.source_shape}")
        self.cycle, self.identity = cycle, identity
        self.pool: Tensor
        self.register_buffer("pool", torch.zeros(pool, *data.source_shape))
        self.filled: Tensor
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def discriminator(self, step: Step) -> Tensor:
        back, judge = _others(step)
        assert step.labels is not None
        with torch.no_grad():
            fake = step.compute(back, step.latents, step.images.real)
        step.collect("fake", fake)
        real_loss = (step.compute(judge, step.labels) - 1).square().mean()
        return (real_loss + step.compute(judge, self._mix(fake)).square().mean()) / 2

    def generator(self, step: Step) -> Tensor:
        back, judge = _others(step)
        source, example, z = step.labels, step.images.real, step.latents
        assert source is not None
        fake = step.compute(back, z, example)
        total = (step.compute(judge, fake) - 1).square().mean() / 2
        cycles = l1_loss(step.compute(back, z, step.images.fake), source)
        cycles = cycles + l1_loss(step.compute(step.generator, z, fake), example)
        step.log("cycles", cycles)
        if self.identity:
            same = l1_loss(step.compute(step.generator, z, example), example)
            cycles = cycles + self.identity * (same + l1_loss(step.compute(back, z, source), source))
        return total + self.cycle * cycles

    def update(self, collected: Mapping[str, Tensor]) -> None:
        if len(self.pool):
            newest = torch.cat((self.pool, collected["fake"].to(self.pool.dtype)))[-len(self.pool) :]
            self.pool.copy_(newest)
            self.filled.add_(len(collected["fake"])).clamp_(max=len(self.pool))

    def _mix(self, fake: Tensor) -> Tensor:
        """Replace half of the examples by earlier ones, once there are some."""
        if not len(self.pool):
            return fake
        # The newest stand last.
        chosen = len(self.pool) - 1 - (torch.rand(len(fake), device=fake.device) * self.filled).long()
        old = self.pool[chosen.clamp(min=0)].to(fake.dtype)
        is_old = (torch.rand(len(fake), device=fake.device) < 0.5) & (self.filled > 0)
        return torch.where(is_old[:, None, None, None], old, fake)


def _others(step: Step) -> tuple[Generator, Discriminator]:
    back, judge = step.networks.get("back"), step.networks.get("judge")
    if not isinstance(back, Generator) or not isinstance(judge, Discriminator):
        raise ValueError("needs the networks back and judge: use --arch cyclegan")
    return back, judge
