"""Steps on emulated CUDA: every registered part, in every plan and situation."""

import pytest

from ganforge.plugins.registry import Registry
from ganforge.testing.emulation.cases import PLANS, SITUATIONS, emulate, find_subjects
from ganforge.testing.emulation.hooks import find_obstacle

REGISTRY = Registry.installed()
SUBJECTS = find_subjects(REGISTRY)
obstacle = find_obstacle()
pytestmark = pytest.mark.skipif(bool(obstacle), reason=obstacle)


def cover():
    """Yield all cases; of each part, those beyond a sixth of the situations in one plan each are exhaustive."""
    for number, subject in enumerate(SUBJECTS):
        for index, situation in enumerate(SITUATIONS):
            for place, plan in enumerate(PLANS):
                chosen = place == (number + index) % len(PLANS) and (number + index) % 6 == 0
                chosen |= situation == "fade"
                marks = [] if chosen else [pytest.mark.exhaustive]
                marks += [pytest.mark.slow] if chosen and (number + index) % 12 else []
                yield pytest.param(subject, plan, situation, id=f"{subject.name}-{plan}-{situation}", marks=marks)


@pytest.mark.parametrize(("subject", "plan", "situation"), list(cover()))
def test_a_step_has_no_fault_on_cuda(subject, plan, situation):
    watch = emulate(subject, plan, situation)
    if watch is not None:
        assert not watch.faults
        assert watch.launches
