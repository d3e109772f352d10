"""What leaves a node when it is asked for statistics, and what the server takes."""

from typing import Any

import numpy as np
import pytest

from fl_app.core.errors import ConfigError
from fl_app.core.run_config import RunConfig
from fl_app.tasks.agreement import Question, Statistics, encode_words, read_statistics
from fl_app.tasks.client_data import LocalTask
from fl_app.training.statistics_reply import local_statistics, statistics_reply
from scripts.repository import default_run_config


def config(**settings: Any) -> RunConfig:
    own = {"dataset": "own", "task": "table(target='ill', classes='no,yes')"}
    changed = {key.replace("_", "-"): value for key, value in settings.items()}
    return RunConfig.from_run_config(default_run_config() | own | changed)


def local(run: RunConfig) -> LocalTask:
    return LocalTask(run, {"name": "north", "data": "/north.csv"})


CONFIG = config()
MASKED = config(secure_aggregation=True, clip_norm=2.0)


def test_in_the_clear_sums_and_names_are_told() -> None:
    told = Statistics(10, np.array([4.0, -3.0]), {"sex": ["m", "f"]})
    (sums,), count, words = statistics_reply(told, local(CONFIG))
    read = read_statistics(count, [sums], words["statistics"], Question("", 2))
    assert read.sums.tolist() == [4.0, -3.0]
    assert read.words == {"sex": ["f", "m"]}


def test_under_masks_a_mean_is_told_that_is_no_longer_than_the_clip_norm() -> None:
    (vector,), count, _ = statistics_reply(Statistics(10, np.array([10.0, -10.0])), local(MASKED))
    assert np.linalg.norm(vector) == pytest.approx(2.0)
    assert count == 10


@pytest.mark.parametrize(
    "told",
    [
        Statistics(10, np.array([10.5])),
        Statistics(10, np.array([np.nan])),
        Statistics(10, np.zeros(1), {"sex": ["m"]}),
    ],
)
def test_what_masks_cannot_hide_does_not_leave(told: Statistics) -> None:
    with pytest.raises(ConfigError, match="as masks need them"):
        statistics_reply(told, local(MASKED))


def test_a_node_does_not_tell_what_its_run_config_promises_to_hide() -> None:
    task = "table(target='ill', classes='no,yes'{})"
    private = {"privacy": "central", "clip_norm": 1.0, "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match="would leave without noise"):
        local_statistics(local(config(task=task.format(""), **private)))
    masked = {"secure_aggregation": True, "clip_norm": 2.0}
    with pytest.raises(ConfigError, match="masks cannot hide"):
        local_statistics(local(config(task=task.format(""), **masked)))
    told = task.format(", numeric='age', moments='age:50:12'")
    with pytest.raises(ConfigError, match="all is agreed already"):
        local_statistics(local(config(task=told)))


@pytest.mark.parametrize(
    ("count", "arrays", "words"),
    [
        (0, [np.zeros(2)], "{}"),
        (5, [], "{}"),
        (5, [np.zeros(3)], "{}"),
        (5, [np.array([1.0, np.inf])], "{}"),
        (5, [np.zeros(2, [("a", "f8"), ("b", "f8")])], "{}"),
        (5, [np.array(["1", "2"])], "{}"),
        (5, [np.zeros(2, np.complex64)], "{}"),
        (5, [np.zeros(2)], None),
        (5, [np.zeros(2)], "no JSON"),
        (5, [np.zeros(2)], '{"sex": "m"}'),
        (5, [np.zeros(2)], '{"sex": [1]}'),
        (5, [np.zeros(2)], "[]"),
        (5, [np.array([1.0, -1e308])], "{}"),  # two of these cannot be added
        (5, [np.zeros(2)], "[" * 100_000),
        (5, [np.zeros(2)], '{"sex": ["a", "b", "c", "d"]}'),
    ],
)
def test_the_server_takes_nothing_else(count: int, arrays: list[np.ndarray], words: object) -> None:
    assert encode_words({}) == "{}"
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own among them
        read_statistics(count, arrays, words, Question("", 2, most_names=3))
