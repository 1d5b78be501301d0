import math

import pytest

from ganforge import OptionError
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.schedules import Schedule
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry


def test_a_constant_never_changes():
    schedule = coerce("0.25", Schedule, "here")
    assert [schedule.at(images) for images in (0, 1, 10**9)] == [0.25] * 3
    assert schedule.plain() == 0.25


def test_a_line_and_a_half_cosine_take_the_way_that_their_formulas_say():
    line, cosine = coerce("linear:10:2:4k", Schedule, "here"), coerce("cosine:10:2:4k", Schedule, "here")
    for images in (0, 1000, 2000, 3999):
        share = images / 4000
        assert line.at(images) == pytest.approx(10 - 8 * share)
        assert cosine.at(images) == pytest.approx(2 + 8 * (1 + math.cos(math.pi * share)) / 2)
    assert line.at(4000) == cosine.at(10**9) == 2


@pytest.mark.parametrize("text", ["linear:10:2:4000", "cosine:0.5:1e-05:1000000", 3.0, "linear:0.123456789:1e-07:3"])
def test_a_schedule_is_saved_as_it_is_written(text):
    schedule = coerce(text, Schedule, "here")
    assert coerce(schedule.plain(), Schedule, "here") == schedule
    assert schedule.plain() == text


@pytest.mark.parametrize("text", ["quick:1:2:3k", "linear:1:2", "linear:1:2:0", "cosine:1:x:5", "cosine:1:2:3:4", "x"])
def test_another_form_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match="not a number or schedule .*cosine:10:1:500k"):
        coerce(text, Schedule, "regularizers.r1.weight")


def test_schedules_stand_wherever_a_run_has_a_scalar():
    settings = ["optimizer.generator_lr=linear:2e-4:0:1M", "optimizer.beta2=cosine:0.9:0.99:1M"]
    settings += ["training.ema_images=linear:0:5k:10k"]
    config = resolve(Registry.installed(), *load_layers(None, None, ["r1:weight=cosine:10:1:500k,every=4"], settings))
    assert config.optimizer["generator"].lr.at(500_000) == pytest.approx(1e-4)
    assert config.training.ema_images.at(5_000) == 2500
    assert (config.regularizers[0].weight.at(0), config.regularizers[0].every) == (10, 4)
    assert resolve(Registry.installed(), config.tree()) == config


def test_both_ends_of_a_schedule_must_be_in_range():
    with pytest.raises(OptionError, match=r"optimizer 'adam': beta2=1 must be at least 0 and below 1"):
        resolve(Registry.installed(), {"optimizer": {"beta2": "linear:0.9:1:1000"}})
