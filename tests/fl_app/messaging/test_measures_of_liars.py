"""What participants say they have measured is not believed: a lie ends no run."""

import json
import math
from typing import Any

import numpy as np
import pytest
from flwr.common import Code, FitRes, Parameters, Scalar, Status

from fl_app.core.metrics import ACCURACY, Metric, Sum, encode
from fl_app.messaging.fit_config import (
    MEASURES_KEY,
    RECEIVED_EXAMPLES_KEY,
    RECEIVED_MEASURES_KEY,
)
from fl_app.messaging.replies import evaluation_in, merged_metrics, sums_in

RMSE = Metric("lower", finish=lambda total, weight: math.sqrt(float(total) / weight))
SPREAD = Metric("lower", finish=lambda total, weight: float(total[1] - total[0]))
KNOWN = {"accuracy": ACCURACY, "rmse": RMSE, "spread": SPREAD}

HONEST = encode(
    {
        "accuracy": Sum(np.array(3.0), 4),
        "rmse": Sum(np.array(16.0), 4),
        "spread": Sum(np.array([1.0, 3.0]), 4),
        "loss": Sum(np.array(2.0), 4),
    }
)
TRUE = {"accuracy": 0.75, "rmse": 2.0, "loss": 0.5}


def told(*texts: str) -> list[tuple[int, dict[str, Scalar]]]:
    return [(4, {MEASURES_KEY: text}) for text in texts]


LIES = {
    "no number that a float holds": '{"accuracy": [1, 1' + "0" * 400 + "]}",
    "a sum that no float holds": '{"accuracy": [1' + "0" * 400 + ", 1]}",
    "nested deeply": "[" * 100_000,
    "an array for a number": '{"accuracy": [[1, 2, 3], 4], "loss": [[1, 2, 3], 4]}',
    "a number for an array": '{"spread": [1, 4]}',
    "a negative sum of squares": '{"rmse": [-1e9, 4]}',
    "a negative sum without weight": '{"rmse": [-1e9, 0]}',
    "not finite": '{"accuracy": [NaN, 4], "rmse": [Infinity, 4], "loss": [NaN, 4]}',
    "a negative weight": '{"accuracy": [3, -4]}',
    "a weight beyond all counts": '{"accuracy": [1e300, 1e300]}',
    "another name": '{"x": [1, 1]}',
    "no pair": '{"accuracy": {}, "loss": "", "rmse": null}',
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("first", [True, False])
def test_a_lie_changes_no_metric_of_the_others(lie: str, first: bool) -> None:
    texts = [lie, HONEST, HONEST] if first else [HONEST, HONEST, lie]

    merged = merged_metrics(MEASURES_KEY, KNOWN, told(*texts))

    assert merged == {**TRUE, "spread": 4.0}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_alone_gives_no_metric_and_no_error(lie: str) -> None:
    assert merged_metrics(MEASURES_KEY, KNOWN, told(lie)) == {}


def test_a_text_beyond_all_measure_is_not_read() -> None:
    long = json.dumps({"accuracy": [3, 4]}) + " " * (1 << 26)
    assert sums_in({MEASURES_KEY: long}, MEASURES_KEY, KNOWN) == {}


@pytest.mark.parametrize(
    ("measures", "loss"), [(HONEST, 0.5), ('{"loss": [NaN, 4]}', math.nan), ("{}", math.nan)]
)
def test_an_evaluation_with_the_training_has_the_loss_that_was_measured(
    measures: str, loss: float
) -> None:
    metrics: dict[str, Any] = {RECEIVED_MEASURES_KEY: measures, RECEIVED_EXAMPLES_KEY: 4}
    result = FitRes(Status(Code.OK, ""), Parameters([], ""), 4, metrics)

    found = evaluation_in(result)

    assert found is not None
    assert found.loss == pytest.approx(loss, nan_ok=True)
