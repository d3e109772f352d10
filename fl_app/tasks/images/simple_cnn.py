"""Image classification: SimpleCNN, the model of the reference experiment."""

import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.tasks.images.convolution.pooled import pooled_convolution


class SimpleCNN(nn.Module):
    """Two convolutions and two dense layers for 1x28x28 images; 431,080 parameters."""

    image_shape = (1, 28, 28)
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, 1)
        self.conv2 = nn.Conv2d(20, 50, 5, 1)
        self.fc1 = nn.Linear(4 * 4 * 50, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] to log-probabilities [N, 10]."""
        # Pooling before relu is the same function as relu before pooling, for a quarter
        # of the work: both are monotonic. So are the gradients the same.
        x = pooled_convolution(images, self.conv1)
        x = pooled_convolution(x, self.conv2)
        x = F.relu(self.fc1(x.flatten(1)))
        return F.log_softmax(self.fc2(x), dim=1)
