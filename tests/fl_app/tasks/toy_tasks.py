"""A task that the project does not know: a regression with owners, a part of it local."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.metrics import Metric
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData

SITES = ("north", "south", "east")
EACH = 40


class SiteModel(nn.Module):
    """A line that all share, and an offset that each site has for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(3, 1, bias=False)
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        line: Tensor = self.shared(inputs)
        return (line + self.offset).squeeze(1)


class Sites(Task):
    """Three sites whose targets differ by an offset of 10, 20 and 30."""

    metrics: Mapping[str, Metric] = {
        "mae": Metric("lower"),
        "rmse": Metric("lower", finish=lambda total, n: float((total / n) ** 0.5)),
    }

    def __init__(self, local: bool = True, fails: str = "") -> None:
        self._local = local
        self._fails = fails

    def build_model(self) -> nn.Module:
        if self._fails == "build_model":
            raise KeyError("gone")
        return SiteModel()

    def load_data(self, data_dir: Path) -> TaskData:
        if self._fails == "load_data":
            raise KeyError("gone")
        random = np.random.default_rng(0)
        inputs = random.normal(size=(3 * EACH, 3)).astype(np.float32)
        site = np.arange(3 * EACH) % 3
        targets = (inputs @ np.array([1.0, -2.0, 0.5]) + 10.0 * (site + 1)).astype(np.float32)
        examples = TensorExamples(torch.from_numpy(inputs), torch.from_numpy(targets))
        names = [SITES[s] for s in site]
        train, test = np.arange(90), np.arange(90, 120)
        return TaskData(examples.select(train), examples.select(test), names[:90], names[90:])

    def loss(self, outputs: Tensor, batch: Any) -> Tensor:
        return F.mse_loss(outputs, batch[-1])

    def measure(self, outputs: Tensor, batch: Any) -> Measures:
        error = outputs - batch[-1]
        return {"mae": (error.abs().sum(), len(error)), "rmse": ((error**2).sum(), len(error))}

    def is_federated(self, name: str) -> bool:
        return not (self._local and name == "offset")
