"""What tasks with a table and two classes have in common: network, loss and metrics."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import ACCURACY
from fl_app.data.packaged.fixed_split import check_fold, fixed_split
from fl_app.data.tensor_dataset import Batch, TensorExamples
from fl_app.tasks.tables.columns import Column, Table, encode, width_of
from fl_app.tasks.tables.rows_of_file import read_rows
from fl_app.tasks.tables.scores import (
    AUC,
    CALIBRATION_ERROR,
    calibration_sums,
    score_histograms,
)
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData

FOLDS = 4
"""A quarter of the data is the test set."""


class TableNetwork(nn.Module):
    """Log-odds of class 1: `Linear(inputs, hidden)`, ReLU, `Linear(hidden, 1)`.

    Without a hidden layer it is a logistic regression, `Linear(inputs, 1)`. The last layer is
    `output`; where the share of class 1 differs much between participants its bias may stay with
    each: `local-parameters = "output.bias"`. It begins with 0, and so do the weights of the
    logistic regression.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        """Build it; `hidden` = 0 leaves out the hidden layer."""
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden) if hidden else None
        self.output = nn.Linear(hidden or inputs, 1)
        nn.init.zeros_(self.output.bias)
        if not hidden:
            nn.init.zeros_(self.output.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return log-odds [B] of rows [B, inputs]."""
        inner = inputs if self.hidden is None else torch.relu(self.hidden(inputs))
        outputs: Tensor = self.output(inner).squeeze(1)
        return outputs


class BinaryTable(Task):
    """Rows of a table in one of two classes; a base of tasks, which say the columns and the data.

    Attributes:
        columns: What the model is given.
        label_names: What class 0 and class 1 are called.
    """

    metrics = MappingProxyType(
        {"auc": AUC, "accuracy": ACCURACY, "calibration-error": CALIBRATION_ERROR}
    )
    columns: Sequence[Column] = ()
    label_names = ("0", "1")

    def __init__(self, hidden: int, fold: int) -> None:
        """Set up.

        Args:
            hidden: Units of the hidden layer; 0 is a logistic regression.
            fold: Which quarter of the data is the test set, 0 to 3.
        """
        if hidden < 0:
            raise ConfigError(
                f"run config: task: hidden = {hidden} must be 0 (logistic regression) or more"
            )
        check_fold(fold, FOLDS)
        self._hidden, self._fold = hidden, fold

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

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Yield the likelier class of each row of a CSV or Parquet file, with its probability.

        Raises:
            DataError: If a column is missing, or has a value that it may not have; names file,
                column and row.
        """
        inputs, numbers = read_rows(Path(source), self.columns)
        with torch.no_grad():
            shares = torch.sigmoid(model(inputs).double())
        for number, share in zip(numbers, shares.tolist(), strict=True):
            label = int(share > 0.5)
            likelier = share if label else 1 - share
            yield f"row {number}: {self.label_names[label]}, probability {likelier:.1%}"

    def _divided(self, table: Table, labels: Tensor, owners: Sequence[str]) -> TaskData:
        """Hold out a quarter of every owner's examples of each class."""
        inputs = encode(table, self.columns)
        strata = [f"{owner}/{label}" for owner, label in zip(owners, labels.tolist(), strict=True)]
        train, test = fixed_split(strata, FOLDS, self._fold)

        def examples(rows: Sequence[int]) -> TensorExamples:
            chosen = torch.as_tensor(rows, dtype=torch.int64)
            return TensorExamples(inputs[chosen], labels[chosen])

        return TaskData(
            examples(train.tolist()),
            examples(test.tolist()),
            train_groups=[owners[row] for row in train],
            test_groups=[owners[row] for row in test],
            label_names=self.label_names,
        )
