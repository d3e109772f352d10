"""Breast tumours at four sites: measurements of cell nuclei in, benign or malignant out.

Data: Breast Cancer Wisconsin (Diagnostic) (Wolberg, Mangasarian, Street, Street, 1995; UCI, doi
10.24432/C5DW2B; CC BY 4.0), 569 tumours with 30 measurements, none missing, 212 malignant. It is
embedded in scikit-learn, so nothing has to be installed or fetched.

The data comes from one hospital. It is divided into four sites by "mean texture" (the deviation of
grey values), with limits at 16, 19 and 22: as if each site's microscope or clientele were another.
So both the measurements and the share of malignant tumours differ (8 %, 24 %, 53 % and 66 %).
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

from fl_app.tasks.tables.binary_table import BinaryTable
from fl_app.tasks.tables.columns import Numeric, Table, texts
from fl_app.tasks.task import TaskData

_DIVIDED_BY, _LIMITS = "mean texture", (16, 19, 22)

_BASE = (
    *(("radius", 14, 3.5), ("texture", 19, 4), ("perimeter", 90, 25), ("area", 600, 350)),
    *(("smoothness", 0.1, 0.015), ("compactness", 0.1, 0.05), ("concavity", 0.1, 0.08)),
    *(("concave points", 0.05, 0.04), ("symmetry", 0.18, 0.03)),
    ("fractal dimension", 0.06, 0.007),
)
_ERROR = (
    *(("radius", 0.4, 0.3), ("texture", 1.2, 0.5), ("perimeter", 3, 2), ("area", 40, 45)),
    *(("smoothness", 0.007, 0.003), ("compactness", 0.025, 0.02), ("concavity", 0.03, 0.03)),
    *(("concave points", 0.012, 0.006), ("symmetry", 0.02, 0.008)),
    ("fractal dimension", 0.004, 0.003),
)
_WORST = (
    *(("radius", 16, 5), ("texture", 25, 6), ("perimeter", 107, 33), ("area", 900, 550)),
    *(("smoothness", 0.13, 0.02), ("compactness", 0.25, 0.15), ("concavity", 0.27, 0.2)),
    *(("concave points", 0.11, 0.06), ("symmetry", 0.29, 0.06)),
    ("fractal dimension", 0.08, 0.02),
)


class BreastCancer(BinaryTable):
    """Whether a tumour is malignant, at four sites (participants, `partitioner = "natural"`).

    A quarter (`fold`) of every site's tumours of each class is the test set, the same in every run.

    Source: Breast Cancer Wisconsin (Diagnostic), doi 10.24432/C5DW2B.
    """

    label_names = ("benign", "malignant")

    # Typical values and spreads, rounded to one or two digits: fixed, and agreed beforehand.
    columns = (
        *(Numeric(f"mean {name}", centre, scale, complete=True) for name, centre, scale in _BASE),
        *(Numeric(f"{name} error", centre, scale, complete=True) for name, centre, scale in _ERROR),
        *(Numeric(f"worst {name}", centre, scale, complete=True) for name, centre, scale in _WORST),
    )

    def __init__(self, hidden: int = 0, fold: int = 0) -> None:
        """Set up.

        Args:
            hidden: Units of the hidden layer; 0 is a logistic regression.
            fold: Which quarter of the data is the test set, 0 to 3.
        """
        super().__init__(hidden, fold)

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`; nothing of it is in `data_dir`."""
        found = load_breast_cancer()
        names = [str(name) for name in found.feature_names]
        table: Table = {name: texts(found.data[:, i].tolist()) for i, name in enumerate(names)}
        site = np.digitize(found.data[:, names.index(_DIVIDED_BY)], _LIMITS)
        labels = torch.from_numpy((found.target == 0).astype(np.int64))
        owners = [f"site-{index + 1}" for index in site]
        return self._divided(table, labels, owners)
