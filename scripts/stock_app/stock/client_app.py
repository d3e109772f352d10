"""The participant, as in Flower's PyTorch tutorial."""

from typing import Any

import torch
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import Context, NDArrays, Scalar

from .task import SimpleCNN, get_weights, load_data, set_weights, test, train


class FlowerClient(NumPyClient):
    """Trains and evaluates on its own shard."""

    def __init__(self, loaders: Any, epochs: int, lr: float) -> None:  # noqa: ANN401
        self.net = SimpleCNN()
        self.trainloader, self.testloader = loaders
        self.epochs, self.lr = epochs, lr

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train and return the weights."""
        set_weights(self.net, parameters)
        train(self.net, self.trainloader, self.epochs, self.lr)
        return get_weights(self.net), len(self.trainloader.dataset), {}

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the global weights."""
        set_weights(self.net, parameters)
        loss, accuracy = test(self.net, self.testloader)
        return loss, len(self.testloader.dataset), {"accuracy": accuracy}


def client_fn(context: Context) -> Client:
    """Build a participant."""
    config, node = context.run_config, context.node_config
    # As many threads as the CPUs that it was given, like this project's participants: Ray sets
    # OMP_NUM_THREADS for that, which this repeats.
    torch.set_num_threads(1)
    part, num_parts = int(str(node["partition-id"])), int(str(node["num-partitions"]))
    batch_size = int(str(config["batch-size"]))
    loaders = load_data(str(config["data-dir"]), part, num_parts, batch_size)
    epochs, lr = int(str(config["local-epochs"])), float(str(config["learning-rate"]))
    return FlowerClient(loaders, epochs, lr).to_client()


app = ClientApp(client_fn)
