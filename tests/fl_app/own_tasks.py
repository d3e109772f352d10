"""Tasks as users would write them, from docs/tasks.md alone."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from fl_app.core.metrics import ACCURACY, Metric
from fl_app.data.tensor_dataset import ItemExamples, TensorExamples
from fl_app.tasks.task import Task, TaskData


class GruNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gru = nn.GRU(2, width, batch_first=True)
        self.output = nn.Linear(width, 3)

    def forward(self, steps, lengths):
        packed = pack_padded_sequence(steps, lengths.cpu(), True, enforce_sorted=False)
        return self.output(self.gru(packed)[1][-1])


class GruClassifier(Task):
    """Which way a walk of some length drifts."""

    metrics = {"accuracy": ACCURACY}

    def __init__(self, width: int = 8):
        self.width = width

    def build_model(self):
        return GruNet(self.width)

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        items = []
        for label in torch.randint(3, (240,), generator=generator).tolist():
            length = int(torch.randint(3, 12, (), generator=generator))
            drift = torch.tensor([(1.0, 0.0), (-1.0, 1.0), (0.0, -1.0)][label])
            items.append((torch.randn(length, 2, generator=generator) + drift, label))
        return TaskData(ItemExamples(items[:180]), ItemExamples(items[180:]))

    def collate(self, items):
        steps, labels = zip(*items, strict=True)
        lengths = torch.tensor([len(walk) for walk in steps])
        return pad_sequence(list(steps), batch_first=True), lengths, torch.tensor(labels)

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1])

    def measure(self, outputs, batch):
        return {"accuracy": ((outputs.argmax(1) == batch[-1]).sum(), len(outputs))}


class Regression(Task):
    """Several targets, with the share of the variance that is explained."""

    metrics = {
        "r2": Metric("higher", finish=lambda t, n: float(1 - t[0] / (t[2] - t[1] ** 2 / n))),
        "rmse": Metric("lower", finish=lambda t, n: float((t / n) ** 0.5)),
    }

    def build_model(self):
        return nn.Linear(6, 2)

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(300, 6, generator=generator)
        targets = inputs @ torch.randn(6, 2, generator=generator)
        owners = [f"site {i % 3}" for i in range(300)]
        return TaskData(
            TensorExamples(inputs[:240], targets[:240]),
            TensorExamples(inputs[240:], targets[240:]),
            owners[:240],
            owners[240:],
        )

    def loss(self, outputs, batch):
        return F.mse_loss(outputs, batch[-1])

    def measure(self, outputs, batch):
        error = ((outputs - batch[-1]) ** 2).sum()
        flat = batch[-1].flatten()
        sums = torch.stack([error, flat.sum(), (flat**2).sum()])
        return {"r2": (sums, len(flat)), "rmse": (error, len(flat))}


class Autoencoder(Task):
    """One tensor, which is input and target, and no metric but the loss."""

    def build_model(self):
        return nn.Sequential(nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 12))

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        rows = torch.randn(240, 3, generator=generator) @ torch.randn(3, 12, generator=generator)
        return TaskData(TensorExamples(rows[:200]), TensorExamples(rows[200:]))

    def loss(self, outputs, batch):
        return F.mse_loss(outputs, batch[0])


class SingleItems(Autoencoder):
    """The same, of items and torch's own way to put them together."""

    def load_data(self, data_dir):
        data = super().load_data(data_dir)
        train, test = (list(part.tensors[0]) for part in (data.train, data.test))
        return TaskData(ItemExamples(train), ItemExamples(test))


class TiedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 12)
        self.norm = nn.BatchNorm1d(12)
        self.output = nn.Linear(12, 20)
        self.output.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def forward(self, left, right):
        return self.output(self.norm(self.embedding(left) + self.embedding(right)) * self.scale)


class NormedTied(Task):
    """Two inputs of integers; batch norm, tied weights and a frozen parameter."""

    metrics = {"accuracy": ACCURACY}

    def build_model(self):
        return TiedNet()

    def load_data(self, data_dir):
        generator = torch.Generator().manual_seed(1)
        left = torch.randint(20, (241,), generator=generator)
        right = torch.randint(20, (241,), generator=generator)
        labels = torch.maximum(left, right)
        rows = TensorExamples(left, right, labels)
        train, test = rows.select(torch.arange(193)), rows.select(torch.arange(193, 241))
        return TaskData(train, test, label_names=[f"number {i}" for i in range(20)])

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1])

    def measure(self, outputs, batch):
        return {"accuracy": ((outputs.argmax(1) == batch[-1]).sum(), len(outputs))}
