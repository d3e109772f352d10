"""A small network for rows of a table."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Perceptron(nn.Module):
    """Linear layers with rectifiers between them.

    Takes float32 [N, W]; gives [N, outputs], or [N] where there is one output.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """Set up; `sizes` are the widths of inputs, hidden layers and outputs."""
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        outputs: Tensor = self.layers(inputs)
        return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs
