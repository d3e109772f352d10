"""Models that share, freeze, or store their parameters in ways of their own."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

PIXELS = 28 * 28


class Tied(nn.Module):
    """One weight under two names, used twice."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(PIXELS, 12, bias=False)
        self.inner = nn.Linear(12, 12, bias=False)
        self.again = nn.Linear(12, 12, bias=False)
        self.again.weight = self.inner.weight
        self.fc = nn.Linear(12, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(images.flatten(1)))
        return F.log_softmax(self.fc(self.again(torch.tanh(self.inner(hidden)))), dim=1)


class FrozenBackbone(nn.Module):
    """A backbone that everybody has, and a head that is trained."""

    num_classes = 10

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.backbone = nn.Linear(PIXELS, 12)
        self.head = nn.Linear(12, 10)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.randn(12, PIXELS, generator=generator) / 28)
            self.backbone.bias.zero_()
        self.backbone.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.head(torch.relu(self.backbone(images.flatten(1)))), dim=1)


class Complex(nn.Module):
    """Linear in the complex numbers; the real part counts."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(PIXELS, 10, dtype=torch.complex64)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(images.flatten(1).to(torch.complex64)).abs(), dim=1)


class Narrow(nn.Module):
    """A linear model in bfloat16."""

    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(PIXELS, 10, dtype=torch.bfloat16)

    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.fc(images.flatten(1).to(torch.bfloat16)).float(), dim=1)
