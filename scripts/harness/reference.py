"""The yardstick: plain federated averaging in one process, participants one after another.

No Flower, no deltas, no fast paths: a `DataLoader` with torchvision's own per-sample
transforms, `zero_grad` / `backward` / `step`, and an average of weights. It shares the seeds
and the batch order with the application, and nothing of its arithmetic.

    python -m scripts.harness.reference --data-dir DIR --rounds 10 --local-epochs 10
"""

import argparse
import copy
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from fl_app.core.paths import resolve_data_dir
from fl_app.core.seeding import training_generator
from fl_app.tasks.images.simple_cnn import SimpleCNN
from fl_app.tasks.registry import build_model

State = dict[str, Tensor]
Shard = Dataset[Any]  # of pairs (image, label)


class TextbookCNN(SimpleCNN):
    """SimpleCNN as it is usually written: torch's own layers, relu before pooling."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] to log-probabilities [N, 10]."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x.flatten(1)))), dim=1)

    @classmethod
    def with_weights_of(cls, model: nn.Module) -> "TextbookCNN":
        """Return one with the weights of a SimpleCNN; the global random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            textbook = cls()
        textbook.load_state_dict(model.state_dict())
        return textbook


def train_locally(
    model: nn.Module,
    shard: Shard,
    num_examples: int,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Train a model in place with the textbook loop.

    Args:
        model: Starts from the global weights, ends with the participant's.
        shard: The participant's examples.
        num_examples: How many there are.
        epochs: Passes over the shard.
        batch_size: Examples per step; the short last batch is kept.
        learning_rate: Step size of SGD.
        generator: Decides the order of the examples in each epoch.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(num_examples, generator=generator).tolist()
        for images, labels in DataLoader(shard, batch_size=batch_size, sampler=order):
            optimizer.zero_grad()
            loss = F.nll_loss(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def average(states: Sequence[State], num_examples: Sequence[int]) -> State:
    """Average state dicts, each weighted by its number of examples."""
    total = sum(num_examples)
    return {
        name: sum(
            (state[name] * (n / total) for state, n in zip(states, num_examples, strict=True)),
            torch.zeros_like(first),
        )
        for name, first in states[0].items()
    }


def reference_rounds(
    model: nn.Module,
    shards: Sequence[Shard],
    num_examples: Sequence[int],
    *,
    rounds: int,
    local_epochs: int,
    batch_size: int = 32,
    learning_rate: float = 0.01,
    seed: int = 42,
) -> Iterator[State]:
    """Yield the global weights after each round.

    Args:
        model: The model with the initial weights; left as it is.
        shards: Each participant's examples.
        num_examples: How many each has.
        rounds: How many rounds to run.
        local_epochs: Epochs per participant and round.
        batch_size: Examples per step.
        learning_rate: Step size of SGD.
        seed: The seed of the run; decides the order of the examples.
    """
    weights = copy.deepcopy(model.state_dict())
    for server_round in range(1, rounds + 1):
        local_states = []
        for participant, (shard, n) in enumerate(zip(shards, num_examples, strict=True)):
            local = copy.deepcopy(model)
            local.load_state_dict(weights)
            train_locally(
                local,
                shard,
                n,
                epochs=local_epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                generator=training_generator(seed, server_round, str(participant)),
            )
            local_states.append(local.state_dict())
        weights = average(local_states, num_examples)
        yield weights


@torch.no_grad()
def accuracy(model: nn.Module, test: Shard) -> float:
    """Return the share of test examples classified right."""
    model.eval()
    correct = total = 0
    for images, labels in DataLoader(test, batch_size=1000):
        correct += int((model(images).argmax(1) == labels).sum())
        total += len(labels)
    return correct / total


def as_shard(images: Tensor, labels: Tensor) -> Shard:
    """Make a shard of tensors; images [N, C, H, W] normalised, labels [N]."""
    return TensorDataset(images, labels)


def mnist_shards(data_dir: Path, participants: int) -> tuple[list[Shard], list[int], Shard]:
    """Return equal contiguous shards of MNIST, their sizes, and the test set."""
    from torchvision import datasets, transforms  # slow, and only for MNIST's files

    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train = datasets.MNIST(str(data_dir), train=True, transform=transform)
    test = datasets.MNIST(str(data_dir), train=False, transform=transform)
    edges = [i * len(train) // participants for i in range(participants + 1)]
    ranges = [range(a, b) for a, b in pairwise(edges)]
    return [Subset(train, r) for r in ranges], [len(r) for r in ranges], test


def main() -> None:
    """Run the reference experiment and print a line per round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data-dir", default="", help="folder that holds MNIST/")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--local-epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()

    model = TextbookCNN.with_weights_of(build_model("simple-cnn", arguments.seed))
    data_dir = resolve_data_dir(
        str(Path(arguments.data_dir).resolve()) if arguments.data_dir else ""
    )
    shards, sizes, test = mnist_shards(data_dir, arguments.participants)
    start = time.perf_counter()
    results = reference_rounds(
        model,
        shards,
        sizes,
        rounds=arguments.rounds,
        local_epochs=arguments.local_epochs,
        seed=arguments.seed,
    )
    for server_round, weights in enumerate(results, start=1):
        seconds = time.perf_counter() - start
        model.load_state_dict(weights)
        print(
            f"round {server_round}/{arguments.rounds} | "
            f"accuracy {accuracy(model, test):.2%} | {seconds:.1f} s since the start",
            flush=True,
        )


if __name__ == "__main__":
    main()
