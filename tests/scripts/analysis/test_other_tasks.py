"""Prediction and evaluation for tasks that are not of images, and what a file may not do."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from scripts.analysis import evaluate, predict
from tests.support.local_run import run_app, summary_of

TASK = """
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fl_app.core.errors import DataError
from fl_app.core.metrics import ACCURACY
from fl_app.data.local_data import LocalData
from fl_app.data.tensor_dataset import TensorExamples
from fl_app.tasks.task import Task, TaskData

print("was run")


class Sides(Task):
    metrics = {"accuracy": ACCURACY}
    names = ("nobody said",)

    def build_model(self):
        model = nn.Linear(2, 2)
        model.own = nn.Parameter(torch.zeros(1))
        return model

    def outputs(self, model, batch):
        return model(batch[0]) + model.own

    def is_federated(self, name):
        return name != "own" or not self.local

    local = False

    def load_data(self, data_dir):
        rows = torch.randn(80, 2, generator=torch.Generator().manual_seed(1))
        every = TensorExamples(rows, (rows[:, 0] > 0).long())
        train, test = every.select(torch.arange(60)), every.select(torch.arange(60, 80))
        return TaskData(train, test, label_names=("left", "right"), metadata={"unit": "m"})

    def load_own_data(self, source):
        if not source.data.is_file():
            raise DataError(f"{source.data} does not exist")
        rows = torch.tensor(np.loadtxt(source.data, ndmin=2), dtype=torch.float32)
        examples = TensorExamples(rows[:, :2], rows[:, 2].long())
        assert source.holdout_fraction == 0 and source.test_data is None
        return LocalData(lambda: examples, lambda: examples.select([]))

    def loss(self, outputs, batch):
        return F.cross_entropy(outputs, batch[-1])

    def measure(self, outputs, batch):
        return {"accuracy": ((outputs.argmax(1) == batch[-1]).sum(), len(outputs))}

    def restore(self, metadata):
        self.names = json_names(metadata)
        self.unit = metadata["unit"]


def json_names(metadata):
    import json

    return json.loads(metadata["classes"])


class Spoken(Sides):
    def predict(self, model, source):
        assert not model.training and not torch.is_grad_enabled()
        for point in source.split(";"):
            x, y = map(float, point.split())
            side = self.names[int(model(torch.tensor([[x, y]])).argmax())]
            yield f"{x:g} {self.unit} is {side}"


class Local(Sides):
    local = True


class NoTest(Sides):
    def load_data(self, data_dir):
        from dataclasses import replace

        data = super().load_data(data_dir)
        return replace(data, test=data.test.select([]))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "sides.py").write_text(TASK, encoding="utf-8")
    return tmp_path


@pytest.fixture
def config(run_config: dict[str, Any], home: Path, no_pictures: None) -> dict[str, Any]:
    return run_config | {
        **{"dataset": "auto", "task": f"{home}/sides.py:Spoken", "learning-rate": 0.5},
        **{"tensorboard": False, "num-server-rounds": 3},
    }


def test_every_metric_and_a_table_of_the_classes(config, tmp_path, capsys):
    run = run_app(config)
    capsys.readouterr()

    told_to = ["--task", config["task"], "--output", str(tmp_path / "out")]
    assert evaluate.main([str(run), *told_to]) == 0

    told = capsys.readouterr().out
    central = summary_of(run)["central"]
    assert f"accuracy  {central['accuracy']:.2%}\n" in told
    assert f"loss      {central['loss']:.4f}\n" in told
    assert "examples  20\n" in told
    assert "\nleft " in told
    content = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert content["classes"] == ["left", "right"]
    assert sum(map(sum, content["confusion"])) == 20
    assert (tmp_path / "out/confusion.png").is_file()


def test_own_data_of_any_task(config, tmp_path, capsys):
    run = run_app(config)
    (tmp_path / "mine.txt").write_text("3 0 1\n-3 0 0\n-4 0 1\n")

    task = ["--task", config["task"]]
    assert evaluate.main([str(run), *task, "--data", str(tmp_path / "mine.txt")]) == 0
    told = capsys.readouterr().out
    assert f"test set  {tmp_path}/mine.txt (trained on {config['task']})" in told
    assert "accuracy  66.67%" in told
    assert "\nleft " in told

    assert evaluate.main([str(run), *task, "--data", str(tmp_path / "no.txt")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/no.txt does not exist\n"


def test_a_task_predicts_lines_of_what_it_is_given(config, capsys):
    run = run_app(config)
    capsys.readouterr()
    task = ["--task", config["task"]]

    assert predict.main([str(run), *task, "3 0;-3 0", "2 1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "3 m is right",
        "-3 m is left",
        "2 m is right",
    ]

    assert predict.main([str(run), *task, "three", "2 1"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == ["2 m is right"]
    assert err.startswith("error: predict of the task Spoken fails on 'three': ValueError: ")


@pytest.mark.parametrize(
    ("name", "command", "arguments", "told"),
    [
        ("Sides", predict, ["3 0"], "the task Sides does not say how to predict"),
        ("Spoken", predict, ["--invert", "yes", "3 0"], "--invert is for pictures"),
        ("Spoken", evaluate, ["--dataset", "mnist"], "--dataset is for images"),
        ("NoTest", evaluate, [], "the task NoTest has no test set"),
    ],
)
def test_what_a_task_cannot_do_is_told(config, home, capsys, name, command, arguments, told):
    run = run_app(config)

    task = ["--task", f"{home}/sides.py:{name}"]
    assert command.main([str(run), *task, *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"error: {told}")


def test_own_data_that_is_not_here_is_asked_for(config, capsys):
    run = run_app(config)
    _rewrite(run / "model.safetensors", dataset="own")

    assert evaluate.main([str(run), "--task", config["task"]]) == 1
    assert "Name data of the same kind with --data" in capsys.readouterr().err


def test_local_parameters_are_said_to_be_the_initial_ones(config, home, capsys):
    run = run_app(config | {"task": f"{home}/sides.py:Local"})
    task = ["--task", f"{home}/sides.py:Local"]

    assert evaluate.main([str(run), *task]) == 0
    note = "local to each participant, which keeps its own; here the initial ones: own"
    assert f"note      {note}\n" in capsys.readouterr().out

    run = run_app(config | {"local-parameters": "own"})  # no code says so, the run config does
    assert predict.main([str(run), "--task", config["task"], "1 0"]) == 0
    assert note in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("command", [evaluate, predict])
def test_a_file_names_no_tasks_code_to_run(config, capsys, command):
    run = run_app(config)
    source = ["1 0"] if command is predict else []
    capsys.readouterr()

    assert command.main([str(run), *source]) == 1
    out, err = capsys.readouterr()
    assert "which is code of yours; to run that code, say so with --task" in err
    assert "was run" not in out


@pytest.mark.parametrize("command", [evaluate, predict])
def test_nor_a_models_code_in_the_options_of_a_known_task(tmp_path, capsys, command):
    from tests.fl_app.results.test_reader import METADATA, write_model

    (tmp_path / "net.py").write_text("print('was run')\nfrom torch.nn import Identity as Net\n")
    task = f"image-classification(model='{tmp_path}/net.py:Net')"
    write_model(tmp_path / "model.safetensors", metadata=METADATA | {"task": task})
    source = ["1.png"] if command is predict else []

    for said in ([], ["--task", "image-classification"]):
        if said:
            metadata = METADATA | {"model": f"{tmp_path}/net.py:Net"}
            write_model(tmp_path / "model.safetensors", metadata=metadata)
        assert command.main([str(tmp_path), *said, *source]) == 1
        out, err = capsys.readouterr()
        assert "to run that code, say so with --architecture" in err
        assert "was run" not in out


def test_settings_that_cannot_be_read_are_told(config, capsys):
    run = run_app(config)
    _rewrite(run / "model.safetensors", **{"task-settings": "{"})

    assert evaluate.main([str(run), "--task", config["task"]]) == 1
    assert "its task-settings cannot be read" in capsys.readouterr().err


def test_a_table_is_of_one_output_for_each_class(config, home, capsys):
    """Outputs of another kind have none, and what a task measures is told all the same."""
    run = run_app(config)
    code = (home / "sides.py").read_text() + (
        "\n\nclass Three(Spoken):\n"
        "    def build_model(self):\n"
        "        model = super().build_model()\n"
        "        model.register_forward_hook(lambda m, i, out: out[:, None, :])\n"
        "        return model\n"
        "    def outputs(self, model, batch):\n"
        "        return super().outputs(model, batch)[:, 0]\n"
    )
    (home / "three.py").write_text(code)

    assert evaluate.main([str(run), "--task", f"{home}/three.py:Three"]) == 0
    told = capsys.readouterr().out
    assert "accuracy  " in told
    assert "\nleft " not in told


def _rewrite(file: Path, **changes: str) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        metadata = tensors.metadata()
    save_file(load_file(file), file, metadata | changes)
