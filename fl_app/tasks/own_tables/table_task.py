"""The task `table`: a class or a number is predicted from the rows of participants' own tables."""

import json
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.metrics import ACCURACY, MAE, RMSE, Metric
from fl_app.data.local_data import LocalData, OwnSource, refuse_same
from fl_app.data.table_files.read import read_table
from fl_app.data.tensor_dataset import Batch, TensorExamples
from fl_app.tasks.agreement import Merged, Question, Statistics
from fl_app.tasks.own_tables.encoding import encode_rows, width
from fl_app.tasks.own_tables.exchanges import answer, next_agreement, question
from fl_app.tasks.own_tables.options import (
    CLASSIFICATION,
    REGRESSION,
    option_error,
    read_options,
)
from fl_app.tasks.own_tables.perceptron import Perceptron
from fl_app.tasks.own_tables.rows import LabelledRows, divide, labelled_rows
from fl_app.tasks.own_tables.table_agreement import TableAgreement
from fl_app.tasks.tables.scores import AUC, score_histograms
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData

_AGREEMENT = "agreement"
_ROWS_TO_TRY = 4


class TableTask(Task):
    """Rows of numbers and categories, prepared as all participants agreed, and a small network.

    Accuracy is measured of a classification, and of one with two classes the AUC; of a regression
    the root of the mean squared error and the mean absolute error, both in the target's own unit;
    its loss is the mean squared error in deviations of the target.

    Attributes:
        options: What the run config says of the tables.
    """

    def __init__(
        self,
        target: str = "",
        kind: str = CLASSIFICATION,
        classes: str = "",
        ignore: str = "",
        numeric: str = "",
        categorical: str = "",
        categories: str = "",
        moments: str = "",
        ranges: str = "",
        buckets: int = 0,
        hidden: int = 32,
        layers: int = 1,
    ) -> None:
        """Set up.

        Args:
            target: The column to predict.
            kind: "classification" or "regression".
            classes: The names of the classes, separated by commas, in the order of their labels.
            ignore: Columns to leave out, separated by commas.
            numeric: Columns of numbers, likewise; where no columns are named, they are found.
            categorical: Columns of categories, likewise.
            categories: What categories a column has, `sex:f|m,site:a|b|c`; else they are asked for.
            moments: Mean and deviation of a column, `age:54:9`; else they are asked for.
            ranges: The least and largest number of a column, `age:0:120`; masks need it.
            buckets: Hash categories that are not told to so many, instead of asking for them.
            hidden: The width of hidden layers.
            layers: How many of them there are.
        """
        self.options = read_options(
            target,
            kind,
            classes,
            ignore,
            numeric,
            categorical,
            categories,
            moments,
            ranges,
            buckets,
        )
        if hidden < 1 or layers < 0:
            raise option_error(
                f"hidden = {hidden} must be 1 or more, and layers = {layers} 0 or more"
            )
        self._hidden = [hidden] * layers
        self._agreement = TableAgreement.told_by(self.options)
        self._is_regression = kind == REGRESSION
        self.metrics = MappingProxyType(_metrics(self._is_regression, len(self.options.classes)))

    def build_model(self) -> nn.Module:
        """See `Task.build_model`; what is to be agreed on has to be."""
        inputs = width(self._agreed(), self.options)
        return Perceptron([inputs, *self._hidden, max(1, len(self.options.classes))])

    def load_data(self, data_dir: Path) -> TaskData:
        """Refuse: every participant has a table of its own."""
        raise ConfigError(
            "run config: the task table is for tables of the participants' own: set dataset = "
            "'own', and name each participant's file"
        )

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy, in nats, or squared error, in squared deviations."""
        if self._is_regression:
            return F.mse_loss(outputs, batch[-1])
        return F.cross_entropy(outputs, batch[-1])

    def measure(self, outputs: Tensor, batch: Batch) -> Measures:
        """See `Task.measure`."""
        targets, count = batch[-1], len(batch[-1])
        if not self._is_regression:
            measures: Measures = {"accuracy": ((outputs.argmax(1) == targets).sum(), count)}
            if "auc" not in self.metrics:
                return measures
            return {**measures, "auc": score_histograms(outputs[:, 1] - outputs[:, 0], targets)}
        deviation = self._agreement.deviations[self.options.target]
        errors = (outputs - targets).double() * deviation
        return {"rmse": (errors.square().sum(), count), "mae": (errors.abs().sum(), count)}

    def sample_batch(self) -> Batch:
        """Make rows of mean numbers without categories."""
        inputs = torch.zeros(_ROWS_TO_TRY, width(self._agreed(), self.options))
        dtype = torch.float32 if self._is_regression else torch.int64
        return inputs, torch.zeros(_ROWS_TO_TRY, dtype=dtype)

    def load_own_data(self, source: OwnSource) -> LocalData[TensorExamples]:
        """Read a CSV or Parquet file."""
        self._agreed()
        data = labelled_rows(read_table(source.data), self.options)
        examples, remarks = self._examples(data)
        if source.test_data is None:
            train, test = divide(data, source.holdout_fraction, source.seed, source.participant)
            makes = partial(examples.select, train), partial(examples.select, test)
        else:
            refuse_same(source.data, source.test_data)
            test_rows = labelled_rows(read_table(source.test_data), self.options)
            held, more = self._examples(test_rows)
            makes = partial(_itself, examples), partial(_itself, held)
            remarks += more
        for remark in remarks:
            logging.getLogger("flwr").info("%s", remark)
        return LocalData(*makes, remarks)

    def to_agree(self) -> Question | None:
        """See `Task.to_agree`."""
        return question(self._agreement, self.options)

    def local_statistics(self, source: OwnSource) -> Statistics:
        """See `Task.local_statistics`; of the rows that `load_own_data` gives for training."""
        data = labelled_rows(read_table(source.data), self.options)
        rows = data.rows
        if source.test_data is None:
            rows = rows[divide(data, source.holdout_fraction, source.seed, source.participant)[0]]
        return answer(data.table, rows, self._agreement, self.options)

    def agree(self, merged: Merged) -> str:
        """See `Task.agree`."""
        return next_agreement(merged, self._agreement, self.options).encode()

    def take_agreement(self, text: str) -> None:
        """See `Task.take_agreement`."""
        self._agreement = TableAgreement.decode(text, self.options)

    def metadata(self) -> Mapping[str, str]:
        """Say how rows are prepared; see `Task.metadata`."""
        classes = json.dumps(list(self.options.classes))
        return {_AGREEMENT: self._agreement.encode(), "classes": classes}

    def restore(self, metadata: Mapping[str, str]) -> None:
        """See `Task.restore`."""
        if _AGREEMENT not in metadata:
            raise UserError("it does not say how rows of a table are prepared (agreement)")
        self.take_agreement(metadata[_AGREEMENT])

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Yield a line per row of a CSV or Parquet file, with or without the target."""
        table = read_table(Path(source))
        agreement, options = self._agreed(), self.options
        encoded = encode_rows(table, agreement, options)
        with torch.no_grad():
            outputs = model(torch.from_numpy(encoded.inputs))
        for number, output in zip(table.numbers, outputs, strict=True):
            if self._is_regression:
                mean, deviation = (
                    agreement.means[options.target],
                    agreement.deviations[options.target],
                )
                yield f"row {number}: {options.target} {float(output) * deviation + mean:.6g}"
                continue
            shares = output.softmax(0)
            best = int(shares.argmax())
            yield f"row {number}: {options.classes[best]}, probability {float(shares[best]):.1%}"

    def _agreed(self) -> TableAgreement:
        if (open_question := self.to_agree()) is not None:
            raise ConfigError(
                f"the participants' tables have not been agreed on: {open_question.what}"
            )
        return self._agreement

    def _examples(self, data: LabelledRows) -> tuple[TensorExamples, tuple[str, ...]]:
        """Make inputs and targets of all rows that have a target."""
        encoded = encode_rows(data.table, self._agreement, self.options)
        targets = torch.from_numpy(data.targets)
        if self._is_regression:
            target = self.options.target
            mean, deviation = self._agreement.means[target], self._agreement.deviations[target]
            targets = ((targets - mean) / deviation).float()
        examples = TensorExamples(torch.from_numpy(encoded.inputs[data.rows]), targets)
        return examples, (*data.remarks, *encoded.remarks)


def _metrics(is_regression: bool, num_classes: int) -> dict[str, Metric]:
    """Return what is measured; the first decides what "best" means."""
    if is_regression:
        return {"rmse": RMSE, "mae": MAE}
    return {"accuracy": ACCURACY} | ({"auc": AUC} if num_classes == 2 else {})


def _itself(examples: TensorExamples) -> TensorExamples:
    return examples
