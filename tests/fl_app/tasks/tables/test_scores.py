"""Metrics of probabilities: exact as sums, near scikit-learn's, and merged like numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fl_app.core.metrics import Metric, Sum, decode, encode, merge
from fl_app.tasks.tables.scores import (
    AUC,
    CALIBRATION_ERROR,
    SCORE_BINS,
    area_under_curve,
    auc_error_bound,
    calibration_error,
    calibration_sums,
    score_histograms,
)

examples = st.lists(
    st.tuples(st.floats(-15, 15, width=32), st.integers(0, 1)), min_size=2, max_size=60
)


def tensors(pairs):
    logits, labels = zip(*pairs, strict=True)
    return torch.tensor(logits, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)


def as_sum(measured) -> Sum:
    total, weight = measured
    return Sum(total.numpy().astype(np.float64), float(weight))


@given(examples)
def test_the_auc_is_within_its_bound_of_that_of_scikit_learn(pairs):
    logits, labels = tensors(pairs)
    found = as_sum(score_histograms(logits, labels))
    if len(set(labels.tolist())) == 1:
        assert np.isnan(AUC.value(found))
        return
    expected = roc_auc_score(labels.numpy(), logits.numpy())

    assert abs(AUC.value(found) - expected) <= auc_error_bound(found.total) + 1e-12


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 1)), min_size=2, max_size=60))
def test_the_auc_is_exact_where_scores_that_differ_are_in_different_bins(pairs):
    logits, labels = tensors([(score / 4, label) for score, label in pairs])
    if len(set(labels.tolist())) == 2:
        expected = roc_auc_score(labels.numpy(), logits.numpy())
        assert AUC.value(as_sum(score_histograms(logits, labels))) == pytest.approx(expected, 1e-12)


def test_the_auc_of_many_scores_is_that_of_scikit_learn_to_a_thousandth():
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(5000, generator=generator) < 0.05).long()
    logits = torch.randn(5000, generator=generator) - 3 + labels

    found = as_sum(score_histograms(logits, labels))

    assert auc_error_bound(found.total) < 0.005
    expected = roc_auc_score(labels.numpy(), logits.numpy())
    assert AUC.value(found) == pytest.approx(expected, abs=1e-3)


def test_the_bound_is_reached_where_all_scores_share_a_bin():
    logits, labels = tensors([(0.001, 0), (0.002, 1)])
    found = as_sum(score_histograms(logits, labels))

    assert AUC.value(found) == 0.5
    assert auc_error_bound(found.total) == 0.5  # the scores' own AUC is 1


@pytest.mark.parametrize("measure", [score_histograms, calibration_sums])
@given(pairs=examples, cut=st.integers(1, 59))
def test_sums_of_parts_are_the_sum_of_the_whole(measure, pairs, cut):
    logits, labels = tensors(pairs)
    whole = as_sum(measure(logits, labels))
    parts = [
        decode(encode({"m": as_sum(measure(logits[part], labels[part]))}))
        for part in (slice(None, cut), slice(cut, None))
        if len(logits[part])
    ]
    merged = merge(parts)["m"]

    np.testing.assert_allclose(merged.total, whole.total, rtol=1e-12)
    assert merged.weight == whole.weight == len(pairs)


@pytest.mark.parametrize(("score", "place"), [(50.0, -1), (torch.inf, -1), (-50.0, 0)])
def test_scores_beyond_the_bins_are_counted_in_the_last_ones(score, place):
    counts, _ = score_histograms(torch.tensor([score]), torch.tensor([1]))

    assert counts.shape == (2, SCORE_BINS)
    assert counts[1, place] == 1
    assert counts.sum() == 1


def test_a_model_that_diverged_has_an_auc_all_the_same():
    logits = torch.tensor([torch.nan, torch.nan, torch.nan])

    assert AUC.value(as_sum(score_histograms(logits, torch.tensor([0, 1, 1])))) == 0.5


def test_the_calibration_error_is_that_worked_out_by_hand():
    # Two bins: three at 0.55, of which one is positive, and one at 0.97, which is not.
    probabilities = torch.tensor([0.55, 0.55, 0.55, 0.97], dtype=torch.float64)
    found = as_sum(calibration_sums(torch.logit(probabilities), torch.tensor([1, 0, 0, 0])))

    expected = (abs(3 * 0.55 - 1) + 0.97) / 4
    assert CALIBRATION_ERROR.value(found) == pytest.approx(expected, abs=1e-12)


def test_a_perfect_answer_has_no_error_and_better_points_the_right_way():
    logits, labels = torch.tensor([-60.0, 60.0]), torch.tensor([0, 1])

    assert CALIBRATION_ERROR.value(as_sum(calibration_sums(logits, labels))) < 1e-12
    assert AUC.value(as_sum(score_histograms(logits, labels))) == 1
    assert Metric("higher", finish=area_under_curve) == AUC
    assert Metric("lower", finish=calibration_error) == CALIBRATION_ERROR
