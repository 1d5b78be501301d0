"""Steps on emulated CUDA: every registered part, in every plan and situation; the rest of the pairs are slow."""

import pytest

from ganforge.plugins.registry import Registry
from ganforge.testing.emulation.cases import PLANS, SITUATIONS, emulate, find_subjects
from ganforge.testing.emulation.hooks import find_obstacle

REGISTRY = Registry.installed()
SUBJECTS = find_subjects(REGISTRY)
obstacle = find_obstacle()
pytestmark = pytest.mark.skipif(bool(obstacle), reason=obstacle)


def cover():
    """Return cases that pair each subject with every plan and every situation, and fading with every plan."""
    cases = []
    for number, subject in enumerate(SUBJECTS):
        for index, situation in enumerate(SITUATIONS):
            plans = list(PLANS) if situation == "fade" else [list(PLANS)[(number + index) % len(PLANS)]]
            marks = () if (number + index) % 12 == 0 else pytest.mark.slow
            names = [f"{subject.name}-{plan}-{situation}" for plan in plans]
            cases += [
                pytest.param(subject, plan, situation, id=name, marks=marks)
                for plan, name in zip(plans, names, strict=True)
            ]
    return cases


@pytest.mark.parametrize(("subject", "plan", "situation"), cover())
def test_a_step_has_no_fault_on_cuda(subject, plan, situation):
    watch = emulate(subject, plan, situation)
    if watch is not None:
        assert not watch.faults
        assert watch.launches
