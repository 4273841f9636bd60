"""What turns the patch of one stain into features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 64
KERNEL_PX = 5


class SpecBackbone(nn.Module):
    """The specification's: convolution, max-pool, convolution, fully connected; each followed by ReLU.

    Parameters
    ----------
    channels
        Of the picture: 3 or 1.
    size_px
        Side of the patch; at least 8.
    features
        How many it gives.

    Notes
    -----
    Both convolutions are padded, so at 28 px the fully connected layer takes 14 * 14 * 64 = 12,544 values. It takes them
    with the channels last, as the convolution leaves them: no copy between the two.
    """

    def __init__(self, channels: int, size_px: int, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, CHANNELS, KERNEL_PX, padding="same")
        self.second = nn.Conv2d(CHANNELS, CHANNELS, KERNEL_PX, padding="same")
        self.full = nn.Linear(CHANNELS * (size_px // 2) ** 2, features)

    def forward(self, patches: Tensor) -> Tensor:
        """(k, channels, size, size) standardised to (k, features), at least 0."""
        # ReLU after the pooling equals ReLU before it and has a quarter of the values.
        values = functional.relu(functional.max_pool2d(self.first(patches), 2))
        values = functional.relu(self.second(values))
        return functional.relu(self.full(values.permute(0, 2, 3, 1).flatten(1)))


BACKBONES: dict[str, type[SpecBackbone]] = {"spec": SpecBackbone}
