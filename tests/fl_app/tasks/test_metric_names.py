"""What a task may call its metrics."""

from collections.abc import Mapping
from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.metrics import Metric
from fl_app.tasks import registry
from fl_app.tasks.registry import build_task
from tests.fl_app.tasks.toy_tasks import Sites

LOWER = Metric("lower")


def task_with(metrics: Any) -> Sites:
    class Renamed(Sites):
        pass

    Renamed.metrics = metrics
    return Renamed()


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [
        ({"loss": LOWER}, "one named 'loss'"),
        ({"num_examples": LOWER}, "one named 'num_examples'"),
        ({"num-examples": LOWER}, "one named 'num-examples'"),
        ({"mae=": LOWER}, "one named 'mae='"),
        ({"mae,rmse": LOWER}, "one named 'mae,rmse'"),
        ({" ": LOWER}, "one named ' '"),
        (["mae"], r"are \['mae'\]; they must be Metric objects"),
        ({"mae": "lower"}, "they must be Metric objects"),
    ],
)
def test_what_is_no_metric_or_has_a_name_that_is_taken_is_refused(
    monkeypatch: pytest.MonkeyPatch, metrics: Mapping[str, Any], fault: str
) -> None:
    monkeypatch.setattr(registry, "part", lambda kind, text, settings: task_with(metrics))
    with pytest.raises(ConfigError, match=fault):
        build_task("a task", {})


def test_better_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="better = 'Higher' of a metric must be"):
        Metric("Higher")  # type: ignore[arg-type]
