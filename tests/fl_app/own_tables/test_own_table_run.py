"""Whole runs with tables of the participants' own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from safetensors import safe_open

from fl_app.client_app import app as client_app
from fl_app.core.errors import ConfigError, ResumeError
from fl_app.results.saved_model import load_task_model
from fl_app.rounds.agreement import NoAgreementError
from scripts.harness.in_process_grid import InProcessGrid
from tests.fl_app.own_tables.hospitals import (
    COLUMNS,
    OPTIONS,
    hospitals,
    own_config,
    rows_of,
    write,
)
from tests.support.local_run import digest, metrics, run_on


class Recorded(InProcessGrid):
    """Keeps what was asked of the nodes, and what reached the server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[Message] = []
        self.replies: list[Message] = []

    def push_messages(self, messages: Any) -> Any:
        kept = list(messages)
        self.asked += kept
        return super().push_messages(kept)

    def pull_messages(self, message_ids: Any) -> Any:
        replies = list(super().pull_messages(message_ids))
        self.replies += replies
        return replies

    def exchanges(self) -> int:
        """How many messages asked for statistics."""
        return sum("statistics" in str(message.content) for message in self.asked)


def run(config: dict[str, Any], nodes: list[dict[str, Any]]) -> tuple[Path, Recorded]:
    grid = Recorded(client_app, config, len(nodes), node_configs=nodes)
    return run_on(grid, config), grid


def agreement_of(directory: Path) -> dict[str, Any]:
    with safe_open(directory / "model.safetensors", framework="numpy") as file:
        agreed: dict[str, Any] = json.loads(file.metadata()["agreement"])
    return agreed


def training_rows(nodes: list[dict[str, Any]], config: dict[str, Any]) -> list[list[str]]:
    """The ages of the rows that each participant trains on, worked out apart."""
    from fl_app.data.local_data import OwnSource
    from fl_app.data.table_files.read import read_table
    from fl_app.tasks.own_tables.rows import divide, labelled_rows
    from fl_app.tasks.own_tables.table_task import TableTask

    options = TableTask(target="ill", classes="no,yes").options
    found = []
    for node in nodes:
        source = OwnSource(Path(node["data"]), None, 0.2, config["seed"], node["name"])
        data = labelled_rows(read_table(source.data), options)
        train, _ = divide(data, 0.2, source.seed, source.participant)
        found.append([data.table.columns["age"][i] or "" for i in data.rows[train]])
    return found


def test_three_tables_train_a_model_that_is_better_than_chance(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes = hospitals(tmp_path)
    own = own_config(config, num_server_rounds=4)
    directory, grid = run(own, nodes)

    assert metrics(directory, "round")[-1]["federated"]["accuracy"] > 0.8
    assert 0.8 < metrics(directory, "round")[-1]["federated"]["auc"] <= 1
    assert grid.exchanges() == 2 * 3
    agreed = agreement_of(directory)
    assert agreed["numeric"] == ["age", "dose"]
    assert agreed["categories"] == {"sex": ["female", "male"]}
    ages = [float(age) for part in training_rows(nodes, own) for age in part if age]
    assert agreed["means"]["age"] == pytest.approx(np.mean(ages), rel=1e-12)
    assert agreed["deviations"]["age"] == pytest.approx(np.std(ages), rel=1e-12)


def test_columns_that_nobody_names_are_found_and_those_not_common_are_left_out(
    config: dict[str, Any], tmp_path: Path, flower_log: pytest.LogCaptureFixture
) -> None:
    nodes = hospitals(tmp_path)
    directory, grid = run(own_config(config, task=f"table({OPTIONS})"), nodes)
    agreed = agreement_of(directory)
    assert (agreed["numeric"], agreed["categorical"]) == (["age", "dose"], ["sex"])
    assert grid.exchanges() == 3 * 3
    assert "columns that not all participants have are not used: ['extra']" in flower_log.text


def test_the_order_of_arrival_makes_no_difference(config: dict[str, Any], tmp_path: Path) -> None:
    nodes, own = hospitals(tmp_path), own_config(config)
    first = InProcessGrid(client_app, own, 3, order=1, node_configs=nodes)
    second = InProcessGrid(client_app, own, 3, order=2, node_configs=nodes)
    assert digest(run_on(first, own)) == digest(run_on(second, own))


def test_a_resumed_run_goes_on_to_the_same_bits_and_asks_nothing_again(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes = hospitals(tmp_path)
    whole, _ = run(own_config(config, num_server_rounds=3), nodes)
    half, _ = run(own_config(config, num_server_rounds=1), nodes)
    resumed, grid = run(own_config(config, num_server_rounds=3, resume=str(half)), nodes)
    assert digest(resumed) == digest(whole)
    assert grid.exchanges() == 0
    assert agreement_of(resumed) == agreement_of(whole)


def test_another_task_is_not_resumed(config: dict[str, Any], tmp_path: Path) -> None:
    nodes = hospitals(tmp_path)
    half, _ = run(own_config(config, num_server_rounds=1), nodes)
    other = f"table({OPTIONS}, numeric='dose')"
    with pytest.raises(ResumeError, match=r"task was table\(.*, is table\("):
        run(own_config(config, task=other, num_server_rounds=2, resume=str(half)), nodes)


def test_a_strategy_of_flowers_tells_the_agreement_too(
    config: dict[str, Any], tmp_path: Path
) -> None:
    directory, grid = run(own_config(config, strategy="FedAvg"), hospitals(tmp_path))
    assert metrics(directory, "round")[-1]["aggregated"]
    assert grid.exchanges() == 2 * 3


def test_one_that_joins_later_takes_what_is_agreed_with_the_message(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes, own = hospitals(tmp_path), own_config(config, num_participants=2, num_server_rounds=2)
    grid = Recorded(client_app, own, 2, node_configs=nodes[:2])
    joined: list[int] = []
    push = grid.push_messages

    def and_join(messages: Any) -> Any:
        pushed = list(messages)
        if not joined and pushed[0].metadata.message_type == "evaluate":  # of round 1
            joined.append(grid.connect(2, own, 3, nodes[2]))
        return push(pushed)

    grid.push_messages = and_join  # type: ignore[method-assign]
    directory = run_on(grid, own)
    rows = [row for row in metrics(directory, "participant") if row["participant"] == "west"]
    assert [row["failure"] for row in rows] == [None]
    assert grid.exchanges() == 2 * 2


@pytest.mark.parametrize("row", [5, 12])
def test_what_is_wrong_with_a_cell_stays_in_the_log_of_its_node(
    config: dict[str, Any], tmp_path: Path, flower_log: pytest.LogCaptureFixture, row: int
) -> None:
    nodes = hospitals(tmp_path)
    rows = rows_of("south")
    rows[row]["age"] = "seventy-secret"
    write(tmp_path / "south.csv", rows, ["ill", "sex", "patient", "dose", "age"])
    directory, grid = run(own_config(config), nodes)

    own_log = f"south.csv, column 'age', row {row + 2}: 'seventy-secret' is no number"
    assert own_log in flower_log.text
    replies = "".join(str(reply.content) for reply in grid.replies if reply.has_content())
    errors = [reply.error.reason for reply in grid.replies if reply.has_error()]
    assert errors
    assert set(errors) == {"DataError; its own log says more"}
    assert "secret" not in replies
    report = [row for row in metrics(directory, "participant") if row["participant"] == "south"]
    assert all(r["failure"] == "DataError; its own log says more" for r in report)


def test_no_cell_of_a_table_reaches_the_server(config: dict[str, Any], tmp_path: Path) -> None:
    nodes = hospitals(tmp_path)
    _, grid = run(own_config(config, task=f"table({OPTIONS})"), nodes)
    told = "".join(str(reply.content) for reply in grid.replies)
    assert "female" in told  # categories are told, by many rows each
    assert "secret" not in told
    cells = {
        cell
        for name in ("north", "south", "west")
        for row in rows_of(name)
        for cell in (row["age"], row["dose"])
        if cell
    }
    assert not [cell for cell in cells if cell in told]


def test_a_run_without_an_answer_ends_in_a_sentence(config: dict[str, Any], tmp_path: Path) -> None:
    nodes = hospitals(tmp_path)
    for node in nodes:
        Path(node["data"]).write_text("")
    with pytest.raises(NoAgreementError, match="0 of 3 participants told"):
        run(own_config(config), nodes)


def test_a_regression_is_learned_in_the_unit_of_its_target(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes = []
    random = np.random.default_rng(0)
    for name in ("north", "south", "west"):
        x = random.normal(size=80)
        price = 5000 + 300 * x + 10 * random.normal(size=80)
        rows = [
            {"x": str(a), "price": str(b)} for a, b in zip(x.tolist(), price.tolist(), strict=True)
        ]
        path = write(tmp_path / f"{name}.csv", rows, ["x", "price"])
        nodes.append({"name": name, "data": str(path), "state-dir": str(tmp_path / "state")})
    task = "table(target='price', kind='regression', numeric='x', layers=0)"
    directory, _ = run(own_config(config, task=task, learning_rate=0.1, num_server_rounds=5), nodes)
    last = metrics(directory, "round")[-1]
    assert last["federated"]["rmse"] < 15
    assert 0 < last["federated"]["mae"] < last["federated"]["rmse"]
    config_file = json.loads((directory / "config.json").read_text())
    assert config_file["metrics"]["rmse"] == {"better": "lower", "percent": False}


def test_predict_prepares_rows_as_was_agreed(config: dict[str, Any], tmp_path: Path) -> None:
    directory, _ = run(own_config(config, num_server_rounds=4), hospitals(tmp_path))
    task, model, _ = load_task_model(directory)
    rows = [
        {"age": "80", "sex": "male", "dose": "500"},
        {"age": "20", "sex": "female", "dose": "500"},
        {"age": "", "sex": "unheard of", "dose": "?"},
    ]
    path = write(tmp_path / "new.csv", rows, ["sex", "dose", "age"])
    first, second, third = task.predict(model, str(path))
    assert first.startswith("row 2: yes, probability 9")
    assert second.startswith("row 3: no, probability 9")
    assert third.startswith("row 4: ")


def test_privacy_wants_everything_told_and_then_trains_without_an_exchange(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes = hospitals(tmp_path)
    private = {"privacy": "central", "clip_norm": 1.0, "noise_multiplier": 0.5}
    with pytest.raises(ConfigError, match=r"age, dose, by moments=.*; categories of sex, by"):
        run(own_config(config, **private), nodes)
    told = "moments='age:50:12,dose:500:290', categories='sex:male|female'"
    task = f"table({OPTIONS}, {COLUMNS}, {told})"
    directory, grid = run(own_config(config, task=task, **private), nodes)
    assert grid.exchanges() == 0
    assert agreement_of(directory)["means"] == {"age": 50.0, "dose": 500.0}


def test_under_masks_the_sums_are_masked_and_come_out_alike(
    config: dict[str, Any], tmp_path: Path
) -> None:
    nodes = hospitals(tmp_path)
    secure = {"secure_aggregation": True, "clip_norm": 5.0, "min_fit_clients": 3}
    with pytest.raises(ConfigError, match=r"ranges of age, dose, by ranges=.*categories of sex"):
        run(own_config(config, **secure), nodes)
    task = f"table({OPTIONS}, {COLUMNS}, buckets=8, hidden=8{{}})"
    plain, _ = run(own_config(config, task=task.format("")), nodes)
    ranges = ", ranges='age:0:120,dose:0:1000'"
    masked, grid = run(own_config(config, task=task.format(ranges), **secure), nodes)
    exact, found = agreement_of(plain), agreement_of(masked)
    for name, size in (("age", 120), ("dose", 1000)):
        assert found["means"][name] == pytest.approx(exact["means"][name], abs=size * 1e-6)
        assert found["deviations"][name] == pytest.approx(exact["deviations"][name], rel=1e-3)
    assert found["means"] != exact["means"]  # the sums came by another way
    assert metrics(masked, "round")[-1]["aggregated"]
    assert "secagg" in "".join(str(message.content) for message in grid.asked).lower()
