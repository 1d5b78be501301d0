"""Feature extractors on emulated CUDA: no copies between devices, float32 or bfloat16 features."""

import io

import pytest
import torch
from torch_fidelity import FeatureExtractorInceptionV3

from ganforge.evaluation.extractors.inception_network import Inception
from ganforge.evaluation.features.extraction import full_float32
from ganforge.testing.emulation.hooks import emulated_cuda, find_obstacle, run_apart
from ganforge.testing.emulation.training import CUDA, move_to_cuda
from ganforge.testing.emulation.watch import Watch

obstacle = find_obstacle()
pytestmark = [pytest.mark.skipif(bool(obstacle), reason=obstacle), pytest.mark.slow]


class Blank(FeatureExtractorInceptionV3):
    def load_state_dict(self, *_):
        """Keep the initial weights."""


def extract(reduced):
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network = Inception(Blank("blank", ["2048"], feature_extractor_weights_path=nothing).state_dict())
    with emulated_cuda():
        move_to_cuda(network)
        images = torch.zeros(8, 3, 64, 64, dtype=torch.uint8, device=CUDA)
        watch = Watch([network])
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=reduced), full_float32(), watch:
            features, logits = network(images)
    return watch.summary(), features.shape, logits.shape, features.device.type


@pytest.mark.parametrize("reduced", [False, True])
def test_inception_has_no_fault_on_cuda(reduced):
    watched, features, logits, device = run_apart(extract, reduced)
    assert (features, logits, device) == ((8, 2048), (8, 1008), "cuda")
    assert not watched.faults
