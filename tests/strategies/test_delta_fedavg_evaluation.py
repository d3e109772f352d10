"""The participants' evaluations become one."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import DeltaFedAvg
from tests.support.strategy_round import evaluation


def evaluate_all(strategy: DeltaFedAvg, *results: Any, failures: Any = ()):
    return strategy.aggregate_evaluate(
        server_round=1, results=list(results), failures=list(failures)
    )


def test_evaluation_is_averaged_over_examples():
    # (1 * 2 + 3 * 4) / 4 = 3.5 and (1 * 1 + 3 * 0.5) / 4 = 0.625
    loss, metrics = evaluate_all(
        DeltaFedAvg(),
        evaluation("0", 2.0, 1, accuracy=1.0),
        evaluation("1", 4.0, 3, accuracy=0.5),
    )

    assert (loss, metrics) == (3.5, {"accuracy": 0.625})


@pytest.mark.parametrize(
    "useless",
    [
        evaluation("2", 9.0, 0, accuracy=0.0),
        evaluation("2", 9.0, -1, accuracy=0.0),
        evaluation("2", float("nan"), 5, accuracy=0.0),
        evaluation("2", float("inf"), 5, accuracy=0.0),
    ],
)
def test_evaluations_without_examples_or_a_finite_loss_do_not_count(useless):
    usable = evaluation("0", 2.0, 3, accuracy=0.5)

    assert evaluate_all(DeltaFedAvg(), usable, useless) == (2.0, {"accuracy": 0.5})
    assert evaluate_all(DeltaFedAvg(), useless) == (None, {})


def test_no_evaluation_has_no_score():
    assert evaluate_all(DeltaFedAvg()) == (None, {})
    failed = evaluate_all(
        DeltaFedAvg(accept_failures=False), evaluation("0", 2.0, 3), failures=[RuntimeError()]
    )
    assert failed == (None, {})


@given(st.randoms(use_true_random=False))
def test_the_order_of_evaluations_does_not_change_a_bit(order: Random):
    rng = np.random.default_rng(2)
    results = [
        evaluation(str(i), rng.random(), int(rng.integers(1, 99)), accuracy=rng.random())
        for i in range(11)
    ]
    expected = evaluate_all(DeltaFedAvg(), *results)
    order.shuffle(results)

    assert evaluate_all(DeltaFedAvg(), *results) == expected
