"""Model, data and loops, as in Flower's PyTorch tutorial."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import Compose, Normalize, ToTensor


class SimpleCNN(nn.Module):
    """The reference's model, from its specification."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, 1)
        self.conv2 = nn.Conv2d(20, 50, 5, 1)
        self.fc1 = nn.Linear(4 * 4 * 50, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] to log-probabilities [N, 10]."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(x), dim=1)


def load_data(data_dir: str, part: int, num_parts: int, batch_size: int) -> Any:  # noqa: ANN401
    """Return the loaders of one participant's contiguous shards: train and test."""
    transform = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
    loaders = []
    for train in (True, False):
        data = MNIST(data_dir, train=train, transform=transform)
        size = len(data) // num_parts
        shard = Subset(data, range(part * size, (part + 1) * size))
        loaders.append(DataLoader(shard, batch_size=batch_size, shuffle=train))
    return loaders


def train(net: nn.Module, loader: Any, epochs: int, lr: float) -> None:  # noqa: ANN401
    """Train on the training set."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss: Tensor = F.nll_loss(net(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def test(net: nn.Module, loader: Any) -> tuple[float, float]:  # noqa: ANN401
    """Return loss and accuracy on the test set."""
    net.eval()
    loss, correct, total = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            outputs = net(images)
            loss += F.nll_loss(outputs, labels, reduction="sum").item()
            correct += int((outputs.argmax(1) == labels).sum())
            total += len(labels)
    return loss / total, correct / total


def get_weights(net: nn.Module) -> list[NDArray[Any]]:
    """Return the weights as arrays."""
    return [value.cpu().numpy() for value in net.state_dict().values()]


def set_weights(net: nn.Module, weights: list[NDArray[Any]]) -> None:
    """Load weights from arrays."""
    pairs = zip(net.state_dict(), weights, strict=True)
    net.load_state_dict(OrderedDict((name, torch.tensor(array)) for name, array in pairs))
