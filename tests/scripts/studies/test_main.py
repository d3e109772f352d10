"""Studies: tables and pictures from known numbers, going on after an interruption, a real run."""

import json
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.repository import REPOSITORY, default_run_config
from scripts.studies import main
from scripts.studies.definitions import STUDIES, Study
from scripts.studies.plots import plot_study
from scripts.studies.tables import bytes_sent, rounds_to, study_table


def rounds(*accuracies: float, bytes_up: int = 1000) -> list[Any]:
    return [
        {"round": number, "accuracy": accuracy, "bytes_up": bytes_up if number else 0}
        for number, accuracy in enumerate(accuracies)
    ]


RESULTS: dict[str, dict[str, Any]] = {
    "curves": {"plain": rounds(0.1, 0.5, 0.7), "quick": rounds(0.1, 0.9, 0.95)},
    "bytes": {"float32": rounds(0.1, 0.98), "sparse": rounds(0.1, 0.975, bytes_up=8)},
    "grid": {
        "mean | nobody": rounds(0.1, 0.98),
        "mean | flip": rounds(0.1, 0.2),
        "median | nobody": rounds(0.1, 0.97),
        "median | flip": rounds(0.1, 0.965),
    },
    "seeds": {
        "float32 | seed 1": rounds(0.1, 0.90),
        "float32 | seed 2": rounds(0.1, 0.92),
        "bfloat16 | seed 1": rounds(0.1, 0.91),
    },
}


def a_study(layout: Any) -> Study:
    return Study("A title", layout, {}, {}, target=0.9 if layout == "curves" else None)


@pytest.mark.parametrize(
    ("layout", "lines"),
    [
        ("curves", ["| plain | 70.00% | - |", "| quick | 95.00% | 1 |"]),
        (
            "bytes",
            ["| float32 | 98.00% | 0.00 | 1,000 | 1.0 |", "| sparse | 97.50% | 0.50 | 8 | 125.0 |"],
        ),
        (
            "grid",
            ["|  | nobody | flip |", "| mean | 98.0% | 20.0% |", "| median | 97.0% | 96.5% |"],
        ),
        # The standard deviation of 90 and 92 is sqrt(2).
        ("seeds", ["| float32 | 2 | 91.00 ± 1.41 % |", "| bfloat16 | 1 | 91.00 ± 0.00 % |"]),
    ],
)
def test_the_table_by_hand(layout, lines):
    table = study_table(a_study(layout), RESULTS[layout]).splitlines()

    assert [line for line in lines if line not in table] == []


@pytest.mark.parametrize("layout", RESULTS)
def test_the_picture_can_be_opened(layout, tmp_path):
    plot_study(a_study(layout), RESULTS[layout], tmp_path / "study.png")

    with Image.open(tmp_path / "study.png") as image:
        assert image.size[0] > 800
        assert len(np.unique(np.asarray(image))) > 10


def test_the_first_round_that_reaches_the_target_counts():
    assert rounds_to(0.9, rounds(0.1, 0.95, 0.8, 0.9)) == 1
    assert rounds_to(0.9, rounds(0.1, 0.8)) is None
    assert bytes_sent(rounds(0.1, 0.2, 0.3)) == 2000


def test_every_run_of_every_study_is_one_that_the_application_takes():
    from fl_app.core.run_config import RunConfig
    from fl_app.experiment.compatibility import check_compatibility

    for one in STUDIES.values():
        for config in one.configs({}).values():
            check_compatibility(RunConfig.from_run_config(default_run_config() | config))


def test_what_is_overridden_is_overridden_in_all_runs():
    configs = STUDIES["robustness"].configs({"num-server-rounds": 77})

    assert {config["num-server-rounds"] for config in configs.values()} == {77}
    assert configs["Krum | sign flip"]["aggregator"] == "krum(num_malicious=3)"
    assert configs["Krum | sign flip"]["adversary-fraction"] == 0.3
    assert "adversary-fraction" not in configs["Krum | nobody lies"]


@pytest.fixture
def ran(monkeypatch) -> list[dict[str, Any]]:
    """What would be run, with runs that take no time."""
    ran: list[dict[str, Any]] = []

    def run_all(configs: dict[str, Any], train_examples: int, jobs: int) -> Any:
        for name, config in configs.items():
            if config.get("seed") == 99:
                raise KeyboardInterrupt
            ran.append(config)
            yield name, rounds(0.1, 0.5)

    monkeypatch.setattr(main, "_run_all", run_all)
    monkeypatch.setitem(
        STUDIES,
        "compression",
        Study("T", "bytes", {"dataset": "mnist"}, {"a": {"seed": 1}, "b": {"seed": 2}}),
    )
    return ran


@pytest.mark.slow
def test_an_interrupted_study_goes_on_and_a_finished_one_is_drawn_anew(ran, monkeypatch, tmp_path):
    whole = STUDIES["compression"]
    interrupted = Study("T", "bytes", whole.common, {"a": {"seed": 1}, "c": {"seed": 99}})
    command = ["compression", "--output", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setitem(STUDIES, "compression", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main.main(command)

    main.main(command)
    assert [config["seed"] for config in ran] == [1, 2]

    (tmp_path / "compression.png").unlink()
    main.main(command)
    assert len(ran) == 2
    assert (tmp_path / "compression.png").exists()


@pytest.mark.slow
def test_some_runs_now_and_the_others_later(ran, tmp_path):
    command = ["compression", "--output", str(tmp_path)]

    main.main([*command, "--runs", "b"])
    assert [config["seed"] for config in ran] == [2]

    main.main([*command, "--runs", "a"])
    runs = json.loads((tmp_path / "compression.json").read_text())["runs"]
    assert list(runs) == ["a", "b"]


@pytest.mark.slow
def test_a_run_that_would_be_another_one_is_run_again(ran, tmp_path):
    command = ["compression", "--output", str(tmp_path)]
    main.main(command)

    main.main([*command, "--run-config", '{"batch-size": 8}'])
    assert len(ran) == 4
    main.main([*command, "--run-config", '{"batch-size": 8}', "--train-examples", "7"])
    assert len(ran) == 6


@pytest.mark.slow
def test_a_study_of_two_runs_on_digits(tmp_path, capsys):
    small = {"dataset": "digits", "num-server-rounds": 1, "num-participants": 3}

    command = ["compression", "--output", str(tmp_path), "--jobs", "1"]
    command += ["--runs", "float32", "top 1 %, 4 bits", "--run-config", json.dumps(small)]

    status = main.main(command)

    assert status == 0
    runs = json.loads((tmp_path / "compression.json").read_text())["runs"]
    assert set(runs) == {"float32", "top 1 %, 4 bits"}
    dense, sparse = (runs[name]["rounds"] for name in runs)
    assert [row["round"] for row in dense] == [0, 1]
    assert dense[1]["bytes_up"] > 50 * sparse[1]["bytes_up"]
    assert "| float32 |" in capsys.readouterr().out
    assert (tmp_path / "compression.png").stat().st_size > 10_000


def test_the_shell_command_is_there_and_can_be_run():
    assert os.access(REPOSITORY / "scripts" / "study", os.X_OK)
