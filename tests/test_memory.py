"""Out-of-memory handling."""

import pytest
import torch

from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.data import DataSpec
from ganforge.contract.extractor import Extractor
from ganforge.contract.networks import Generator
from ganforge.core.out_of_memory import OutOfMemory, is_out_of_memory, run_with_halving
from ganforge.evaluation.features.extraction import prepare
from ganforge.plugins.registry import Registry
from ganforge.sampling import generate
from ganforge.training import loop

CPU = torch.device("cpu")


def too_large(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class Least:
    """Fails like a device that has room for so many examples at once."""

    def __init__(self, most):
        self.most, self.sizes = most, []

    def check(self, count):
        self.sizes.append(count)
        if count > self.most:
            too_large()


def test_what_this_machine_says_of_too_much_memory_is_understood():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_a_batch_that_does_not_fit_is_computed_in_halves_in_order():
    room = Least(3)

    def double(x, y):
        room.check(len(x))
        return 2 * x

    x = torch.arange(11)
    assert torch.equal(run_with_halving(double, x, None, join=lambda a, b: torch.cat((a, b))), 2 * x)
    assert max(size for size in room.sizes if size <= 3) == 3
    with pytest.raises(torch.OutOfMemoryError):
        run_with_halving(too_large, x, join=lambda a, b: a)
    with pytest.raises(ValueError, match="another"):
        run_with_halving(lambda x: (_ for _ in ()).throw(ValueError("another")), x, join=lambda a, b: a)


class Tight(Extractor):
    """Has room for ten images at once."""

    label, preprocessing, weights_sha256 = "tight", "none", None

    def __init__(self):
        super().__init__()
        self.room = Least(10)

    def forward(self, images):
        self.room.check(len(images))
        return images.float().flatten(1)[:, :4], images.float().flatten(1)[:, :3]


def test_an_extractor_without_room_for_a_batch_gets_halves_and_gives_the_same():
    images = torch.randint(256, (64, 1, 4, 4), dtype=torch.uint8)
    tight = Tight()
    features, logits = prepare(tight, CPU, "float32")(images)
    assert torch.equal(features, images.float().flatten(1)[:, :4])
    assert torch.equal(logits, images.float().flatten(1)[:, :3])
    assert tight.room.sizes[0] == 64


class Cramped(Generator):
    z_dim = 2

    def __init__(self, most):
        super().__init__()
        self.room, self.weight = Least(most), torch.nn.Parameter(torch.ones(()))

    def forward(self, z, labels=None):
        self.room.check(len(z))
        return z * self.weight


def test_a_generator_without_room_for_a_batch_gets_halves_and_gives_the_same():
    assert torch.equal(generate(Cramped(5), 70, seed=3), generate(Cramped(1000), 70, seed=3))


def settings(*given):
    return resolve(Registry.installed(), *load_layers(None, None, [], list(given)))


@pytest.mark.parametrize(
    ("given", "remedies", "others"),
    [
        (["training.batch=64"], ["--accumulate 2", "--batch 32", "recompute=true"], ["bfloat16"]),
        (
            ["training.batch=9", "training.accumulate=3", "training.precision=float32"],
            ["--accumulate 9"],
            ["--batch 0"],
        ),
        (["training.batch=1", "training.recompute=true"], ["--resolution"], ["--accumulate", "--batch", "recompute"]),
    ],
)
def test_remedies_are_such_as_can_be_taken(given, remedies, others):
    from ganforge.training.execution.memory_advice import advising_on_memory

    with pytest.raises(OutOfMemory) as error, advising_on_memory(settings(*given), DataSpec((3, 64, 64))):
        too_large()
    assert "3x64x64" in error.value.message
    for text in remedies:
        assert text in error.value.hint
    for text in others:
        assert text not in error.value.hint


def test_a_run_that_does_not_fit_says_so_in_one_line_and_can_be_gone_on_with(run, here, image_folder, monkeypatch):
    calls = []

    def sometimes(*arguments):
        calls.append(None)
        if len(calls) > 5:
            too_large()
        return read_batch(*arguments)

    read_batch = loop.read_batch
    monkeypatch.setattr(loop, "read_batch", sometimes)
    small = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "8", "--device", "cpu"]
    code, _, err = run("train", "--data", image_folder, "--images", "80", *small)
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("error: out of memory: a step on 8 examples of 3x16x16 does not fit")
    assert "Traceback" not in err
    monkeypatch.setattr(loop, "read_batch", read_batch)
    code, _, err = run("train", "--resume")
    assert code == 0, err


def test_another_error_is_left_as_it_is():
    from ganforge.training.execution.memory_advice import advising_on_memory

    with pytest.raises(RuntimeError, match="shapes"), advising_on_memory(settings(), DataSpec((1, 8, 8))):
        raise RuntimeError("shapes do not match")
