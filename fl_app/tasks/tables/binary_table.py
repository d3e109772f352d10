"""What tasks with a table and two classes have in common: network, loss and metrics."""

from collections.abc import Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY
from fl_app.data.packaged.fixed_split import fixed_split
from fl_app.data.tensor_dataset import Batch, TensorExamples
from fl_app.tasks.tables.columns import Column, Table, encode, width_of
from fl_app.tasks.tables.scores import (
    AUC,
    CALIBRATION_ERROR,
    calibration_sums,
    score_histograms,
)
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData


class TableNetwork(nn.Module):
    """Log-odds of class 1: `Linear(inputs, hidden)`, ReLU, `Linear(hidden, 1)`.

    Without a hidden layer it is a logistic regression, `Linear(inputs, 1)`, which begins with 0.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        """Build it; `hidden` = 0 leaves out the hidden layer."""
        super().__init__()
        if hidden:
            self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        else:
            self.layers = nn.Sequential(nn.Linear(inputs, 1))
            nn.init.zeros_(self.layers[0].weight)
            nn.init.zeros_(self.layers[0].bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return log-odds [B] of rows [B, inputs]."""
        outputs: Tensor = self.layers(inputs).squeeze(1)
        return outputs


class BinaryTable(Task):
    """Rows of a table in one of two classes; a base of tasks, which say the columns and the data.

    Attributes:
        columns: What the model is given.
    """

    metrics = MappingProxyType(
        {"accuracy": ACCURACY, "auc": AUC, "calibration-error": CALIBRATION_ERROR}
    )
    columns: Sequence[Column] = ()

    def __init__(self, hidden: int = 16) -> None:
        """Set up.

        Args:
            hidden: Units of the hidden layer; 0 is a logistic regression.
        """
        if hidden < 0:
            raise ConfigError(
                f"run config: task: hidden = {hidden} must be 0 (logistic regression) or more"
            )
        self._hidden = hidden

    def build_model(self) -> nn.Module:
        """Build a `TableNetwork`."""
        return TableNetwork(width_of(self.columns), self._hidden)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean negative log-likelihood, in nats."""
        return F.binary_cross_entropy_with_logits(outputs, batch[-1].to(outputs.dtype))

    def measure(self, outputs: Tensor, batch: Batch) -> Measures:
        """Count right answers, and sum up the histograms of `fl_app.tasks.tables.scores`."""
        labels = batch[-1]
        measures = {
            "accuracy": (((outputs > 0) == labels.bool()).sum(), len(labels)),
            "auc": score_histograms(outputs, labels),
            "calibration-error": calibration_sums(outputs, labels),
        }
        return {name: measures[name] for name in self.metrics}

    def _divided(
        self,
        table: Table,
        labels: Tensor,
        owners: Sequence[str],
        test_share: float,
        label_names: tuple[str, str],
    ) -> TaskData:
        """Hold out a fixed share of every owner's examples of each class."""
        inputs = encode(table, self.columns)
        strata = [f"{owner}/{label}" for owner, label in zip(owners, labels.tolist(), strict=True)]
        train, test = fixed_split(strata, test_share)

        def examples(rows: Sequence[int]) -> TensorExamples:
            chosen = torch.as_tensor(rows, dtype=torch.int64)
            return TensorExamples(inputs[chosen], labels[chosen])

        return TaskData(
            examples(train.tolist()),
            examples(test.tolist()),
            train_groups=[owners[row] for row in train],
            test_groups=[owners[row] for row in test],
            label_names=label_names,
        )
