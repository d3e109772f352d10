"""The model of the experiment in float64, where round-off hides no mistake.

Two programs that compute the same function sum in another order, so they differ by round-off,
and how much is the processor's affair. Training can turn a difference in the last bit into one
that shows: where a max-pool or relu is nearly tied, the gradient takes another branch. In
float64 both the round-off and the chance of another branch are 2^-29 of float32's.
"""

from torch import Tensor

from fl_app.tasks.images.simple_cnn import SimpleCNN


class ExactCNN(SimpleCNN):
    """Weights, activations and gradients in float64; takes float32 images."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.double())
