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
        ({"loss": LOWER}, "'loss' is among the metrics"),
        ({"num_examples": LOWER}, "has the name 'num_examples'"),
        ({"mae=": LOWER}, "has the name 'mae='"),
        (["mae"], "is a list; it must be a dict of Metric"),
        ({"mae": "lower"}, "has 'lower' for 'mae'"),
        ({"mae": Metric("Lower")}, "it must be Metric"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_metric_or_has_a_name_that_is_taken_is_refused(
    monkeypatch: pytest.MonkeyPatch, metrics: Mapping[str, Any], fault: str
) -> None:
    monkeypatch.setattr(registry, "part", lambda kind, text, settings: task_with(metrics))
    with pytest.raises(ConfigError, match=fault):
        build_task("a task", {})
