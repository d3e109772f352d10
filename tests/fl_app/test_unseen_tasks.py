"""Tasks that the project has never seen run like its own: nothing of it knows them."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from scripts.analysis import contract, evaluate
from tests.support.local_run import digest, metrics, run_app, summary_of

OWN = Path(__file__).with_name("own_tasks.py")

every_task = pytest.mark.parametrize(
    "name", ["GruClassifier(width=6)", "Regression", "Autoencoder", "SingleItems", "NormedTied"]
)


@pytest.fixture
def config(run_config: dict[str, Any], no_pictures: None) -> dict[str, Any]:
    return run_config | {
        **{"dataset": "auto", "partitioner": "iid", "num-participants": 4},
        **{"learning-rate": 0.1, "tensorboard": False, "quorum-deadline": 30.0},
    }


def of(name: str) -> dict[str, Any]:
    return {"task": f"{OWN}:{name}"}


@pytest.mark.slow
@every_task
def test_the_contract_accepts_it(name, capsys):
    assert contract.main(["task", f"{OWN}:{name}"]) == 0
    assert "BROKEN" not in capsys.readouterr().out


@every_task
def test_it_runs_and_learns(name, config):
    directory = run_app(config | of(name) | {"num-server-rounds": 4})

    losses = [row["central"]["loss"] for row in metrics(directory, "round")]
    assert losses[-1] < 0.9 * losses[0]
    assert summary_of(directory)["failures"] == 0


@every_task
def test_it_resumes_to_the_same_bits_in_any_order_of_arrival(name, config):
    parts = of(name) | {"codec": "top-k(fraction=0.5)", "server-optimizer": "sgd(momentum=0.5)"}
    whole = run_app(config | parts | {"num-server-rounds": 3}, order=1)
    half = run_app(config | parts | {"num-server-rounds": 1}, order=2)

    resumed = run_app(config | parts | {"num-server-rounds": 3, "resume": str(half)}, order=3)

    assert digest(resumed) == digest(whole)


@pytest.mark.parametrize("task", [of("Regression")["task"], "breast-cancer"])
def test_it_resumes_with_the_config_that_the_run_has_written(task, config):
    start = config | {"task": task, "num-server-rounds": 1}
    first = run_app(start)
    written = json.loads((first / "config.json").read_text())["run-config"]

    resumed = run_app({**start, **written, "num-server-rounds": 2, "resume": str(first)})

    whole = run_app(start | {"num-server-rounds": 2})
    assert digest(resumed) == digest(whole)


@pytest.mark.slow
@every_task
def test_it_runs_under_masks_and_with_privacy(name, config):
    masked = config | of(name) | {"clip-norm": 1.0, "secure-aggregation": True}
    plain = run_app(masked | {"secure-aggregation": False})
    secure = run_app(masked)
    private = {"privacy": "distributed", "noise-multiplier": 0.1, "privacy-delta": 1e-2}
    noisy = run_app(masked | private | {"fraction-evaluate": 0.0})

    assert summary_of(secure)["central"]["loss"] == pytest.approx(
        summary_of(plain)["central"]["loss"], rel=1e-3
    )
    assert summary_of(noisy)["failures"] == 0
    assert digest(noisy) != digest(secure)


@every_task
def test_its_saved_model_is_evaluated(name, config, tmp_path, capsys):
    directory = run_app(config | of(name))
    output = ["--output", str(tmp_path / "out")]

    assert evaluate.main([str(directory)]) == 1
    assert "to run that code, say so with --task" in capsys.readouterr().err

    assert evaluate.main([str(directory), "--task", f"{OWN}:{name}", *output]) == 0
    content = json.loads((tmp_path / "out/evaluation.json").read_text())
    for metric, value in summary_of(directory)["central"].items():
        written = content["num_examples" if metric == "num_examples" else metric]
        assert written == pytest.approx(value)
    told = capsys.readouterr().out
    # The one task that names its classes has a table and a picture of them.
    assert (
        ("number 19" in told) == (tmp_path / "out/confusion.png").exists() == (name == "NormedTied")
    )


def test_a_regression_has_no_accuracy_anywhere(config, flower_log):
    flower_log.set_level("INFO")
    directory = run_app(
        config | of("Regression") | {"partitioner": "natural", "num-participants": 3}
    )

    assert "central r2 " in flower_log.text
    assert "accuracy" not in flower_log.text + (directory / "metrics.jsonl").read_text()
    assert summary_of(directory)["central"]["r2"] > 0.5


def test_what_the_best_model_goes_by_is_the_first_metric_or_the_loss_in_its_direction(config):
    for name, best_metric, better in [
        ("Regression", "auto", max),
        ("Regression", "rmse", min),
        ("Autoencoder", "auto", min),
    ]:
        run = config | of(name) | {"best-metric": best_metric, "num-server-rounds": 3}
        directory = run_app(run)
        metric = {"auto": "r2" if name == "Regression" else "loss"}.get(best_metric, best_metric)
        rounds = [row["central"][metric] for row in metrics(directory, "round")]
        assert summary_of(directory)["best"]["round"] == rounds.index(better(rounds))


def test_tied_weights_are_one_and_frozen_ones_stay(config):
    state = load_file(run_app(config | of("NormedTied")) / "model.safetensors")

    assert (state["embedding.weight"] == state["output.weight"]).all()
    assert state["scale"] == 2.0
    assert state["norm.running_mean"].any()
