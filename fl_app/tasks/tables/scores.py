"""Metrics of predicted probabilities, as histograms that add up like numbers.

The area under the ROC curve (AUC) is the share of all pairs of a positive and a negative example in
which the positive one has the higher score, ties counted half. It is a number of pairs, not of
examples, so a participant's own AUC cannot be averaged with others. What adds up is a histogram of
the scores of each class: of it, the AUC of all participants together is worked out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl_app.core.metrics import Metric

_LARGEST_LOGIT = 10.0
_BINS_PER_UNIT = 64
_INNER_BINS = int(2 * _LARGEST_LOGIT * _BINS_PER_UNIT)
SCORE_BINS = _INNER_BINS + 2

_CALIBRATION_EDGES = (
    *(0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2),
    *(0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
)
"""Between the bins of probabilities; denser where rare events lie."""


def score_histograms(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Count the scores of each class: the sum and the weight of the metric `AUC`.

    Bins are 1/64 wide on the scale of log-odds from -10 to 10; scores beyond, and what is not
    finite, share the bin at their end (NaN the first).

    Args:
        logits: Log-odds of class 1, [B].
        labels: 0 or 1, int64 [B].

    Returns:
        Counts, int64 [2, SCORE_BINS], by class and bin; and B.
    """
    wide = torch.nan_to_num(logits.detach().double(), nan=-torch.inf)
    wide = wide.clamp(-_LARGEST_LOGIT - 1, _LARGEST_LOGIT + 1)
    place = torch.floor((wide + _LARGEST_LOGIT) * _BINS_PER_UNIT).long() + 1
    place = place.clamp(0, SCORE_BINS - 1)
    counts = torch.bincount(labels * SCORE_BINS + place, minlength=2 * SCORE_BINS)
    return counts.reshape(2, SCORE_BINS), len(labels)


def area_under_curve(histograms: NDArray[np.float64], weight: float = 0) -> float:
    """Return the AUC of histograms; pairs within a bin count half.

    It differs from the AUC of the scores themselves by `auc_error_bound` at most, and not at all
    where no bin holds scores of both classes that differ.

    Args:
        histograms: [2, bins], the negative examples' counts first.
        weight: Is not needed: the counts say how many there are.

    Returns:
        In [0, 1]; NaN where a class has no example.
    """
    negative, positive = histograms
    pairs = negative.sum() * positive.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float(((below + negative / 2) * positive).sum() / pairs)


def auc_error_bound(histograms: NDArray[np.float64]) -> float:
    """Return how far `area_under_curve` can be from the AUC of the scores themselves.

    That is half the share of pairs of a positive and a negative example that lie in one bin.
    """
    negative, positive = histograms
    pairs = negative.sum() * positive.sum()
    return float((negative * positive).sum() / pairs / 2) if pairs else 0.0


def calibration_sums(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Add up probabilities and outcomes by bin: the sum and weight of `CALIBRATION_ERROR`.

    Args:
        logits: Log-odds of class 1, [B].
        labels: 0 or 1, int64 [B].

    Returns:
        float64 [2, bins], the sums of probabilities first, then those of labels; and B.
    """
    probabilities = torch.sigmoid(logits.detach().double())
    edges = torch.tensor(_CALIBRATION_EDGES, dtype=torch.float64, device=logits.device)
    place = torch.bucketize(probabilities, edges, right=True)
    sums = torch.zeros((2, len(_CALIBRATION_EDGES) + 1), dtype=torch.float64, device=logits.device)
    sums[0].index_add_(0, place, probabilities)
    sums[1].index_add_(0, place, labels.double())
    return sums, len(labels)


def calibration_error(sums: NDArray[np.float64], weight: float) -> float:
    """Return the expected calibration error: how far predicted and observed shares are apart.

    That is the mean over examples of |mean probability - share of class 1| of an example's bin.
    The bins are the same for everybody, so it is exact for them; other bins give other values.

    Source: Naeini et al., AAAI 2015.
    """
    return float(np.abs(sums[0] - sums[1]).sum() / weight)


AUC = Metric("higher", finish=area_under_curve)
CALIBRATION_ERROR = Metric("lower", finish=calibration_error)
