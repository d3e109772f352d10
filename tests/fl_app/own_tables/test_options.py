"""The options of the task `table`."""

from typing import Any

import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.experiment.preflight import check_before_start
from fl_app.tasks.own_tables.options import canonical
from fl_app.tasks.own_tables.table_task import TableTask
from fl_app.tasks.registry import build_task

GIVEN: dict[str, Any] = {"target": "ill", "classes": "no,yes"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target": ""}, "target is missing"),
        ({"kind": "ranking"}, "neither classification nor regression"),
        ({"classes": ""}, "needs classes"),
        ({"classes": "no"}, "needs classes"),
        ({"classes": "no,no"}, "a class twice"),
        ({"classes": "1,1.0"}, "a class twice"),
        ({"kind": "regression"}, "a regression has no classes"),
        ({"numeric": "age,ill"}, "'ill' is named twice"),
        ({"numeric": "age,"}, "an empty name"),
        ({"numeric": "age", "categorical": "age"}, "'age' is named twice"),
        ({"categories": "sex:f|m"}, "'sex', which is not among those of categorical"),
        ({"categorical": "sex", "categories": "sex"}, "1 colon must follow"),
        ({"categorical": "sex", "categories": "sex:f|"}, "none empty"),
        ({"numeric": "age", "moments": "age:50"}, "2 colons must follow"),
        ({"numeric": "age", "moments": "age:50:0"}, "the deviation above 0"),
        ({"numeric": "age", "moments": "age:x:1"}, "'age:x:1'"),
        ({"numeric": "age", "ranges": "age:5:5"}, "the largest above the least"),
        ({"numeric": "age", "ranges": "dose:0:5"}, "'dose', which is not among those of numeric"),
        ({"buckets": -1}, "buckets = -1"),
        ({"hidden": 0}, "hidden = 0"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TableTask(**{**GIVEN, **options})


def test_names_of_columns_may_hold_colons_and_blanks() -> None:
    task = TableTask(**GIVEN, numeric="age: years, dose", moments="age: years:50:12")
    assert task.options.moments == {"age: years": (50.0, 12.0)}
    assert task.options.numeric == ("age: years", "dose")


def test_whole_numbers_are_one_class_with_and_without_decimals() -> None:
    assert [canonical(text) for text in ("1", "1.0", "-2.00", "1.5", "a.0", "v1.")] == [
        *("1", "1", "-2", "1.5", "a.0"),
        "v1.",
    ]


def test_before_a_run_starts_its_options_are_looked_at(run_config: dict[str, Any]) -> None:
    own = run_config | {"dataset": "own", "task": "table(target='ill', classes='no,yes')"}
    check_before_start(RunConfig.from_run_config(own))  # there is no model yet, and need not be
    private = {"privacy": "central", "clip-norm": 1.0, "noise-multiplier": 1.0}
    with pytest.raises(ConfigError, match=r"has to say it: the columns, by numeric="):
        check_before_start(RunConfig.from_run_config(own | private))
    with pytest.raises(ConfigError, match="needs classes"):
        check_before_start(RunConfig.from_run_config(own | {"task": "table(target='ill')"}))


def test_a_table_is_not_for_a_simulation_that_divides_data(run_config: dict[str, Any]) -> None:
    task = build_task("table(target='ill', classes='no,yes')", {})
    with pytest.raises(ConfigError, match="dataset = 'own'"):
        task.load_data(run_config["data-dir"])
