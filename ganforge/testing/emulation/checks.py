"""Check of a plugin's part on emulated CUDA."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

from ganforge.contract.errors import GanforgeError
from ganforge.plugins.kinds import KINDS
from ganforge.testing.emulation.capture import explain_capture
from ganforge.testing.emulation.cases import CHECKED, PARTS, SITUATIONS, Subject, emulate, place_part
from ganforge.testing.emulation.hooks import find_obstacle
from ganforge.testing.requirements import require


def check_cuda(factory: type, **options: Any) -> None:
    """Check a generator, discriminator, loss, regularizer or augmentation on emulated CUDA, without a GPU.

    It trains small networks on fake tensors in float32 and bfloat16. It fails where a step mixes devices, copies
    between them, waits for the device, or cannot be captured as a CUDA graph, and names the line.

    Raises:
        unittest.SkipTest: CUDA cannot be emulated here; pytest then skips the test with the reason.
    """
    if obstacle := find_obstacle():
        raise SkipTest(obstacle)
    kind = next((each for each in PARTS if not KINDS[each].find_error(factory)), None)
    require(kind is not None, f"{factory.__name__} is none of {', '.join(PARTS)}")
    assert kind is not None
    subject, part = Subject(CHECKED, place_part(kind, CHECKED, options)), (kind, factory)
    for plan in ("float32", "bfloat16"):
        for situation in SITUATIONS:
            try:
                watched = emulate(subject, plan, situation, part)
            except GanforgeError as error:
                raise AssertionError(f"{plan}, {situation}: {error}") from error
            for fault in watched.faults if watched is not None else ():
                require(False, f"{plan}, {situation}: {fault}")
    reason = explain_capture(subject, "float32", part)
    require(not reason, f"a step cannot be captured as a CUDA graph: {reason}")
