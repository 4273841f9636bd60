"""What weighs the stains against each other, and the whole network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from stainloom.errors import ModelError
from stainloom.model.backbones import BACKBONES

SIZE_PX_LEAST, SIZE_PX_MOST = 8, 128
STAINS_MOST = 32
CLASSES_MOST = 255
_GATE_WIDTH = 16
_VALUES_MOST = 1_000_000_000


class StainGate(nn.Module):
    """Squeeze-and-excitation over the stains: one weight in (0, 1) for each.

    Notes
    -----
    Squeeze: the mean over a stain's features. Excitation: fully connected, ReLU, fully connected, sigmoid. A stain that
    is missing squeezes to 0 whatever its pixels, and its weight is 0.

    References
    ----------
    J. Hu, L. Shen, G. Sun, Squeeze-and-Excitation Networks, CVPR 2018, doi 10.1109/CVPR.2018.00745.
    """

    def __init__(self, stains: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(stains, _GATE_WIDTH)
        self.excite = nn.Linear(_GATE_WIDTH, stains)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """(k, stains, features), zero where missing, and (k, stains) of 0 and 1, to weights (k, stains)."""
        hidden = functional.relu(self.squeeze(features.mean(dim=2)))
        return torch.sigmoid(self.excite(hidden)) * present


FUSIONS: dict[str, type[StainGate]] = {"se": StainGate}


class Output(NamedTuple):
    """What the network says: logits (k, classes) and weights of the stains (k, stains)."""

    logits: Tensor
    weights: Tensor


class StainNetwork(nn.Module):
    """One backbone per stain, the gate over the stains, and a classifier on the weighted features side by side."""

    def __init__(
        self,
        stains: int,
        classes: int,
        channels: int,
        size_px: int,
        *,
        features: int = 512,
        dropout: float = 0.5,
        backbone: str = "spec",
        fusion: str = "se",
    ) -> None:
        super().__init__()
        _check_size(stains, classes, channels, size_px, features)
        self.branches = nn.ModuleList(BACKBONES[backbone](channels, size_px, features) for _ in range(stains))
        self.gate = FUSIONS[fusion](stains)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(stains * features, classes)

    def forward(self, patches: Tensor, present: Tensor) -> Output:
        """Classify samples.

        Parameters
        ----------
        patches
            (stains, k, size, size, channels) float32, standardised: channels last, so that no branch copies its input.
        present
            (k, stains) float32: 1 where the sample has the stain, 0 where it is missing or blank.
        """
        found = [branch(patches[number].permute(0, 3, 1, 2)) for number, branch in enumerate(self.branches)]
        features = torch.stack(found, dim=1) * present[:, :, None]
        weights = self.gate(features, present)
        fused = (features * weights[:, :, None]).flatten(1)
        return Output(self.head(self.dropout(fused)), weights)


def _check_size(stains: int, classes: int, channels: int, size_px: int, features: int) -> None:
    for what, value, least, most in (
        ("stains", stains, 1, STAINS_MOST),
        ("classes", classes, 2, CLASSES_MOST),
        ("channels", channels, 1, 3),
        ("px a side of a patch", size_px, SIZE_PX_LEAST, SIZE_PX_MOST),
    ):
        if not least <= value <= most:
            raise ModelError(
                "a network of this size cannot be built",
                expected=f"{least} to {most} {what}",
                found=f"{value} {what}",
            )
    values = stains * 64 * (size_px // 2) ** 2 * features
    if values > _VALUES_MOST:
        raise ModelError(
            "a network of this size cannot be built",
            expected=f"at most {_VALUES_MOST:,} weights",
            found=f"about {values:,}",
            next="take smaller patches, fewer stains or fewer features",
        )
