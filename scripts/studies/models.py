"""Models that only studies need; a run config names them by their path."""

import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn


class SoftmaxRegression(nn.Module):
    """One layer: what local training converges to can be told from what is averaged."""

    image_shape = (1, 28, 28)
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(28 * 28, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities [N, 10] of images [N, 1, 28, 28]."""
        return F.log_softmax(self.layer(images.flatten(1)), dim=1)
