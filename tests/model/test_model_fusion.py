"""The network: its size, its gate, its bounds."""

from __future__ import annotations

import pytest
import torch

from stainloom.errors import ModelError
from stainloom.model.backbones import BACKBONES, SpecBackbone
from stainloom.model.fusion import FUSIONS, StainGate, StainNetwork
from stainloom.model.settings import BACKBONE_NAMES, FUSION_NAMES


def test_names_without_torch_are_the_names_with_it():
    assert tuple(BACKBONES) == BACKBONE_NAMES
    assert tuple(FUSIONS) == FUSION_NAMES


def test_the_specifications_network_has_the_specifications_size():
    with torch.device("meta"):
        network = StainNetwork(5, 6, 3, 28)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["branches.0.first.weight"] == (64, 3, 5, 5)
    assert shapes["branches.4.second.weight"] == (64, 64, 5, 5)
    assert shapes["branches.2.full.weight"] == (512, 12_544)
    assert shapes["head.weight"] == (6, 5 * 512)
    assert 32_600_000 < sum(value.numel() for value in network.parameters()) < 32_800_000


@pytest.mark.parametrize(("stains", "channels", "size"), [(1, 1, 8), (2, 3, 9), (6, 3, 13)])
def test_any_stains_channels_and_odd_sizes(stains, channels, size):
    network = StainNetwork(stains, 3, channels, size, features=8).eval()
    logits, weights = network(torch.randn(stains, 4, size, size, channels), torch.ones(4, stains))
    assert logits.shape == (4, 3)
    assert weights.shape == (4, stains)
    assert bool(((weights > 0) & (weights < 1)).all())


def test_a_backbone_does_convolution_pool_convolution_full():
    torch.manual_seed(0)
    branch = SpecBackbone(3, 8, 5)
    picture = torch.randn(2, 3, 8, 8)
    functional = torch.nn.functional
    values = functional.relu(functional.conv2d(picture, branch.first.weight, branch.first.bias, padding=2))
    values = functional.max_pool2d(values, 2)
    values = functional.relu(functional.conv2d(values, branch.second.weight, branch.second.bias, padding=2))
    flat = torch.stack([values[:, :, row, col] for row in range(4) for col in range(4)], dim=1).reshape(2, -1)
    expected = functional.relu(flat @ branch.full.weight.T + branch.full.bias)
    assert torch.allclose(branch(picture), expected, atol=1e-6)


def test_the_gate_sees_only_what_is_there():
    torch.manual_seed(0)
    gate = StainGate(3)
    features = torch.rand(2, 3, 8)
    present = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    weights = gate(features * present[:, :, None], present)
    assert weights[1, 1] == 0
    assert bool((weights[0] > 0).all())
    # By hand: squeeze, fully connected, ReLU, fully connected, sigmoid.
    squeezed = features[0].mean(dim=1)
    hidden = torch.relu(gate.squeeze.weight @ squeezed + gate.squeeze.bias)
    by_hand = torch.sigmoid(gate.excite.weight @ hidden + gate.excite.bias)
    assert torch.allclose(weights[0], by_hand, atol=1e-6)


def test_the_weights_of_the_gate_scale_the_features():
    torch.manual_seed(0)
    network = StainNetwork(2, 2, 3, 8, features=8).eval()
    patches, present = torch.randn(2, 1, 8, 8, 3), torch.ones(1, 2)
    with torch.no_grad():
        logits, weights = network(patches, present)
        found = [
            branch(patches[k].permute(0, 3, 1, 2)) * weights[:, k : k + 1] for k, branch in enumerate(network.branches)
        ]
        assert torch.allclose(network.head(torch.cat(found, dim=1)), logits, atol=1e-6)


@pytest.mark.parametrize(
    "size", [(0, 3, 3, 28), (33, 3, 3, 28), (5, 1, 3, 28), (5, 3, 3, 7), (5, 3, 3, 129), (32, 3, 3, 128)]
)
def test_networks_out_of_bounds_are_refused(size):
    with pytest.raises(ModelError, match="cannot be built"):
        StainNetwork(*size)
