"""The model of ratings of courses: biased matrix factorisation with side information."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

STUDENTS, LECTURERS = 2972, 1128
MIDDLE, LOWEST, HIGHEST = 3.0, 1.0, 5.0
"""The middle and the ends of the scale, which everybody knows."""

SIDE = (("studage", (2, 4, 6, 8)), ("lectage", (1, 2, 3, 4, 5, 6)), ("service", (0, 1)))
"""Columns of side information, with the values that each may have."""

_SIDE_INPUTS = sum(len(values) for _, values in SIDE)


@dataclass(frozen=True)
class Scales:
    """What parts of the model are multiplied by where they are used.

    A step moves a part further by the square of its scale. It makes up for how differently often
    the parts occur: a batch has few examples of a student or of a lecturer, all have side
    information.

    Attributes:
        lecturer: Of biases and factors of lecturers.
        student: Of those of students.
        side: Of side information.
    """

    lecturer: float
    student: float
    side: float


class BiasedFactors(nn.Module):
    """Biased matrix factorisation with side information.

    rating = 3 + side(x) + lecturer_bias[d] + student_bias[i]
           + lecturer_factors[d] . student_factors[i]

    where side is `Linear(12, 1)` of semesters, time since the course, and service, one-hot. What is
    called `student...` stays with the participant. All begins with 0 but the lecturers' factors, so
    a student who is not known gets the rating without it.
    """

    def __init__(self, factors: int, scales: Scales) -> None:
        """Build it; see `Scales` for what its parts are multiplied by."""
        super().__init__()
        self._scales = scales
        self.side = nn.Linear(_SIDE_INPUTS, 1)
        nn.init.zeros_(self.side.weight)
        nn.init.zeros_(self.side.bias)
        self.lecturer_bias = nn.Parameter(torch.zeros(LECTURERS))
        self.lecturer_factors = nn.Parameter(
            torch.randn(LECTURERS, factors) * 0.1 / scales.lecturer
        )
        self.student_bias = nn.Parameter(torch.zeros(STUDENTS))
        self.student_factors = nn.Parameter(torch.zeros(STUDENTS, factors))

    def forward(self, student: Tensor, lecturer: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """Predict ratings.

        Args:
            student: Positions, int64 [B].
            lecturer: Likewise.
            side: One-hot, float32 [B, 12].

        Returns:
            Ratings [B], not limited to the scale; and the mean squared sizes of the biases and
            factors that were used, of lecturers and of students [2], 0 in evaluation mode.
        """
        scales = self._scales
        own = self.student_factors[student] * scales.student
        own_bias = self.student_bias[student] * scales.student
        theirs = self.lecturer_factors[lecturer] * scales.lecturer
        their_bias = self.lecturer_bias[lecturer] * scales.lecturer
        common = MIDDLE + self.side(side).squeeze(1) * scales.side
        ratings = common + own_bias + their_bias + (own * theirs).sum(1)
        if not self.training:
            return ratings, ratings.new_zeros(2)
        of_lecturers = (theirs.square().sum(1) + their_bias.square()).mean()
        of_students = (own.square().sum(1) + own_bias.square()).mean()
        return ratings, torch.stack([of_lecturers, of_students])


def side_inputs(columns: Mapping[str, NDArray[np.int64]]) -> Tensor:
    """Return semesters, time since the course and service, one-hot, float32 [N, 12]."""
    parts: list[NDArray[Any]] = [
        columns[name][:, None] == np.array(values)[None, :] for name, values in SIDE
    ]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))
