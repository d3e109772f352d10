"""A model with every kind of buffer."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn


class Normalised(nn.Module):
    """A toy with every kind of buffer: running mean and variance, and a count of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.fc = nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(self.norm(images).flatten(1)), dim=1)
